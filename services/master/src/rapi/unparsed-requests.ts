/** Requests that Node's parser refuses before anything of this server sees them. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { HttpError } from "@gannet/errors";
import { findResource } from "@gannet/opcodes";
import { type ErrorAnswer, errorAnswer } from "./answers.ts";
import { notFound, unspokenVersion, unsupported } from "./refusals.ts";

/** Request line and headers together. */
export const MAX_HEADER_BYTES = 16 * 1024;

export interface ParserError extends Error {
  readonly code?: string;
  readonly rawPacket?: Buffer;
}

/** Answers to what Node's parser refuses, by its error code. */
const PARSER_REFUSALS: Readonly<Record<string, HttpError>> = {
  HPE_HEADER_OVERFLOW: new HttpError(431, `The request's headers are larger than ${MAX_HEADER_BYTES} bytes`),
  HPE_INVALID_URL: notFound(),
  HPE_INVALID_VERSION: unspokenVersion(),
  ERR_HTTP_REQUEST_TIMEOUT: new HttpError(408, "The request took too long to arrive"),
};

/** Answer, or cut, a connection on which no request could be read. */
export function refuseUnparsed(error: ParserError, socket: Duplex): void {
  // A failed TLS handshake comes here too, and a connection that broke: nobody to answer.
  if (!socket.writable || !/^(HPE|ERR_HTTP)_/.test(error.code ?? "")) {
    socket.destroy();
    return;
  }
  const answer = unparsedAnswer(error);
  const head = [
    `HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ""}`,
    "Content-Type: application/json",
    `Content-Length: ${answer.body.length}`,
    "Connection: close",
  ];
  socket.end(Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n`), answer.body]));
}

function unparsedAnswer(error: ParserError): ErrorAnswer {
  if (error.code === "HPE_INVALID_METHOD") {
    const line = /^([A-Za-z]+) ([^\s?]+)\S* HTTP\/1\.[01]\r?\n/.exec(error.rawPacket?.toString("latin1") ?? "");
    if (line?.[1] !== undefined && line[2] !== undefined)
      return errorAnswer(findResource(line[2]) === undefined ? notFound() : unsupported(line[1], line[2]));
  }
  return errorAnswer(PARSER_REFUSALS[error.code ?? ""] ?? new HttpError(400, "Bad request syntax"));
}

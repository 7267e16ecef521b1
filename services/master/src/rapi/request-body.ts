/** Reading a request's body: bounded, of the one type that is accepted, parsed (spec/rapi.json, `http`). */
import type { IncomingMessage, ServerResponse } from "node:http";
import { HttpError } from "@gannet/errors";

export const MAX_BODY_BYTES = 10 * 1024 * 1024;

/** No parameter of any opcode nests deeper than a few levels; this bounds the recursion of all that walk a body. */
const MAX_DEPTH = 32;

/** The client went away before its request was complete: there is nobody to answer. */
export class ClientGone extends Error {}

/** Whether a body follows the request's headers (RFC 9112, section 6.3). */
export function hasBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && length !== "0");
}

/**
 * The parsed body; undefined when it is empty, whatever its type. A client that waits for `100 Continue` gets
 * it here, so a request that was refused earlier never sends its body.
 * @throws HttpError 413, 415, 400; ClientGone
 */
export async function readJsonBody(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
  if (!hasBody(request)) return undefined;
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunked = request.headers["transfer-encoding"] !== undefined;
  if (!chunked) requireJsonType(request);
  if (request.headers.expect !== undefined) response.writeContinue();
  const bytes = await collect(request);
  if (bytes.length === 0) return undefined;
  requireJsonType(request);
  return parseJson(bytes);
}

function requireJsonType(request: IncomingMessage): void {
  if (request.headers["content-type"]?.toLowerCase() !== "application/json")
    throw new HttpError(415, "Unsupported Media Type");
}

function collect(request: IncomingMessage): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (outcome: () => void) => {
      request.off("data", take).off("end", end).off("close", gone).off("error", gone);
      outcome();
    };
    const take = (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_BODY_BYTES) settle(() => reject(tooLarge()));
      else chunks.push(chunk);
    };
    const end = () => settle(() => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, size)));
    const gone = () => settle(() => reject(new ClientGone()));
    request.on("data", take).on("end", end).on("close", gone).on("error", gone);
  });
}

function tooLarge(): HttpError {
  return new HttpError(413, `The body is larger than ${MAX_BODY_BYTES} bytes`);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function parseJson(bytes: Buffer): unknown {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new HttpError(400, "Unable to parse JSON data");
  }
  requirePlain(value, MAX_DEPTH);
  return value;
}

/** @throws HttpError 400 on nesting that no parameter has, and on the one key that JavaScript objects treat apart */
function requirePlain(value: unknown, depth: number): void {
  if (typeof value !== "object" || value === null) return;
  if (depth === 0) throw new HttpError(400, `JSON data is nested deeper than ${MAX_DEPTH} levels`);
  if (Array.isArray(value)) {
    for (const item of value) requirePlain(item, depth - 1);
    return;
  }
  if (Object.hasOwn(value, "__proto__")) throw new HttpError(400, 'There is no parameter named "__proto__"');
  for (const item of Object.values(value)) requirePlain(item, depth - 1);
}

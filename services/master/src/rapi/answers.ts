/** Answers as bytes: JSON with a newline at its end (spec/rapi.json, `http.body_newline`). */
import { httpErrorBody } from "@gannet/errors";
import type { JobId } from "@gannet/job-ledger";
import type { Answer } from "./handlers.ts";

export function jsonAnswer(value: unknown): Answer {
  return { body: encode(JSON.stringify(value)) };
}

/** A submitted job: its bare number. */
export function jobAnswer(job: JobId): Answer {
  return { body: encode(String(job)), job };
}

/** An answer whose JSON text is at hand already. */
export function textAnswer(json: string): Answer {
  return { body: encode(json) };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly body: Buffer;
}

export function errorAnswer(error: unknown): ErrorAnswer {
  const body = httpErrorBody(error);
  return { status: body.code, body: encode(JSON.stringify(body)) };
}

function encode(json: string): Buffer {
  return Buffer.from(`${json}\n`);
}

/** Input of the remote API that is no opcode. */
import { HttpError } from "@gannet/errors";
import type { z } from "zod";
import { check } from "../explain.ts";

/**
 * Parse a body or the like.
 * @param subject what has the parameters, for the message
 * @throws HttpError 400
 */
export function parseInput<T extends z.ZodType>(schema: T, input: unknown, subject: string): z.output<T> {
  const checked = check(schema, input, subject);
  if ("fault" in checked) throw new HttpError(400, checked.fault);
  return checked.value;
}

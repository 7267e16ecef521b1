/** What out-of-band programs print (spec/node-ops.json, `misc`, oob): nothing, or JSON. */
import { OpExecError } from "@gannet/errors";
import type { OobCommandWord } from "@gannet/opcodes";
import { z } from "zod";

export const HEALTH_STATUSES = ["OK", "WARNING", "CRITICAL", "UNKNOWN"] as const;
const health = z.array(z.tuple([z.string(), z.enum(HEALTH_STATUSES)]));
const powerStatus = z.object({ powered: z.boolean() }).loose();

export type OobPayload =
  | { readonly command: "health"; readonly data: z.infer<typeof health> }
  | { readonly command: "power-status"; readonly data: z.infer<typeof powerStatus> }
  | { readonly command: "power-on" | "power-off" | "power-cycle"; readonly data: null };

const SHAPES = { health, "power-status": powerStatus } as const;

/** @throws OpExecError when it is not what the command prints */
export function oobPayload(command: OobCommandWord, output: string): OobPayload {
  if (command === "power-on" || command === "power-off" || command === "power-cycle") {
    if (output.trim() !== "" && parsed(output) !== null)
      throw new OpExecError(`${command} was to print nothing, and printed ${quoted(output)}`);
    return { command, data: null };
  }
  const checked = SHAPES[command].safeParse(parsed(output));
  if (!checked.success) throw new OpExecError(`${command} printed something else than it should: ${quoted(output)}`);
  return { command, data: checked.data } as OobPayload;
}

function parsed(output: string): unknown {
  try {
    return JSON.parse(output);
  } catch (error) {
    throw new OpExecError(`The out-of-band program printed no JSON: ${quoted(output)}`, { cause: error });
  }
}

const LONGEST_QUOTE = 200;

function quoted(output: string): string {
  return JSON.stringify(output.slice(0, LONGEST_QUOTE));
}

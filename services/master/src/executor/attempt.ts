import { StaleEpoch } from "@gannet/errors";
import type { ExecContext } from "./context.ts";

/**
 * Do what may fail without ending the opcode.
 * @returns the failure, or undefined
 * @throws what ends the opcode whatever it tolerates: this process is no longer the leader
 */
export async function failureOf(
  ctx: Pick<ExecContext, "signal">,
  work: () => Promise<unknown>,
): Promise<Error | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof StaleEpoch) throw error;
    ctx.signal.throwIfAborted();
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Commands of Xen that outlive the agent, found again by the verb and the file that they were given. */
import { setTimeout as delay } from "node:timers/promises";
import { findProcesses } from "../process-identity.ts";

const LOOK_MS = 500;

export interface XlProcess {
  readonly verb: "migrate" | "save";
  /** Of one guest alone. */
  readonly file: string;
}

export async function runs({ verb, file }: XlProcess): Promise<boolean> {
  const found = await findProcesses((args) => args.includes(verb) && args.includes(file));
  return found.length > 0;
}

/** Resolves when it has ended, or at the signal. */
export async function untilEnded(process: XlProcess, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await runs(process))) await delay(LOOK_MS);
}

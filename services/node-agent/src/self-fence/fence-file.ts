/** What the agent and the process beside it know of the self-fence: one small file in the state folder. */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { uptime } from "node:os";
import path from "node:path";
import { z } from "zod";
import { undefinedWhenMissing } from "../errno.ts";

const fenceState = z.object({
  /** Of the boot whose clock the times are of. */
  bootId: z.string(),
  /** All guests are to be stopped from then on, in milliseconds of {@link bootClockMs}. */
  deadlineMs: z.number(),
  /** The deadline after which no guest was running any more; null: none yet. */
  fencedMs: z.number().nullable(),
  agentPid: z.int().positive(),
  /** Of the agent: a process beside it that is older ends, for the agent to start another. */
  agentVersion: z.string(),
});
export type FenceState = z.infer<typeof fenceState>;

/**
 * Milliseconds since the machine's boot, those included in which it was suspended (CLOCK_BOOTTIME, clock_gettime(2)):
 * nothing sets it, and guests that wake up with their machine find their time over.
 */
export function bootClockMs(): number {
  return uptime() * 1000;
}

export class FenceFile {
  readonly path: string;

  constructor(stateDir: string) {
    this.path = path.join(stateDir, "self-fence.json");
  }

  /** Undefined when there is none. @throws Error when it cannot be read: the deadline is not known then */
  async read(): Promise<FenceState | undefined> {
    const text = await readFile(this.path, "utf8").catch(undefinedWhenMissing);
    return text === undefined ? undefined : fenceState.parse(JSON.parse(text));
  }

  /** Seen whole by every process of this machine from then on. A loss of power needs no more: it ends all guests. */
  async write(state: FenceState): Promise<void> {
    await writeFile(`${this.path}.${process.pid}`, JSON.stringify(state), { mode: 0o600 });
    await rename(`${this.path}.${process.pid}`, this.path);
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
  }
}

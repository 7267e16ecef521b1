/** Pins a running qemu, or each of its virtual processors, to processors of the node. */
import type { CommandRunner } from "@gannet/exec";
import type { CpuPinning } from "./cpu-mask.ts";
import type { GuestMonitor } from "./guest-monitor.ts";

const TASKSET = "/usr/bin/taskset";
const TIMEOUT_MS = 10_000;

/**
 * Threads that qemu makes later inherit what their maker has, so a guest that is pinned as a whole stays so.
 * @throws HypervisorError when qemu does not tell its threads, CommandError when one cannot be pinned
 */
export async function pinProcessors(
  runner: CommandRunner,
  pinning: CpuPinning,
  monitor: Pick<GuestMonitor, "execute" | "process">,
): Promise<void> {
  switch (pinning.kind) {
    case "none":
      return;
    case "guest":
      await runner.run({
        argv: pinArgv(pinning.cpus, monitor.process.pid, { allThreads: true }),
        timeoutMs: TIMEOUT_MS,
      });
      return;
    case "vcpus":
      for (const vcpu of await monitor.execute({ name: "query-cpus-fast" })) {
        const cpus = pinning.cpus[vcpu["cpu-index"]];
        if (cpus === undefined) continue;
        await runner.run({ argv: pinArgv(cpus, vcpu["thread-id"], { allThreads: false }), timeoutMs: TIMEOUT_MS });
      }
  }
}

/** taskset(1). */
export function pinArgv(
  cpus: string,
  id: number,
  { allThreads }: { readonly allThreads: boolean },
): readonly [string, ...string[]] {
  return [TASKSET, ...(allThreads ? ["--all-tasks"] : []), "--pid", "--cpu-list", cpus, String(id)];
}

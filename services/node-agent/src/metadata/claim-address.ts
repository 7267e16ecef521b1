/** The address at which guests find their node: the same on every node, and on none of its networks. */
import type { CommandRunner } from "@gannet/exec";

const TIMEOUT_MS = 10_000;

/**
 * Put it on the loopback interface, where it stays whichever guests come and go; Ganeti puts it on each guest's tap. The
 * kernel answers for it on all interfaces (arp(7)), and what comes from a guest is answered by the route to that guest.
 * @throws CommandError, such as when this process may not
 */
export function claimOnLoopback(parts: {
  readonly runner: CommandRunner;
  /** The program. */
  readonly ip: string;
}): (address: string) => Promise<void> {
  return async (address) => {
    const argv = [parts.ip, "address", "replace", `${address}/32`, "dev", "lo", "scope", "host"] as const;
    await parts.runner.run({ argv, timeoutMs: TIMEOUT_MS });
  };
}

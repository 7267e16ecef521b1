/**
 * The network of a one-machine cluster's instances: a private bridge where this process may make one, qemu's
 * own user networking elsewhere.
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import type { CommandRunner } from "@gannet/exec";
import type { Logger } from "@gannet/telemetry";

const IP = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip"].find((path) => existsSync(path));
const COMMAND_TIMEOUT_MS = 10_000;

export interface GuestNetwork {
  /** Bridge that NICs join, or undefined when guests use qemu's user networking. */
  readonly bridge: string | undefined;
  remove(): Promise<void>;
}

/** The bridge's name: one for each state directory, so that several clusters share a machine. At most 15 characters. */
export function bridgeName(stateDir: string): string {
  return `gannet${createHash("sha256").update(stateDir).digest("hex").slice(0, 6)}`;
}

/** Make the bridge, or find the one of an earlier run. Without the right to do so there is none, and that is told. */
export async function makeGuestNetwork(stateDir: string, runner: CommandRunner, logger: Logger): Promise<GuestNetwork> {
  const bridge = bridgeName(stateDir);
  const none: GuestNetwork = { bridge: undefined, remove: () => Promise.resolve() };
  if (IP === undefined || process.getuid?.() !== 0) {
    logger.info("no private bridge without root and iproute2: instances use qemu's user networking");
    return none;
  }
  const ip = IP;
  const run = (...args: string[]) => runner.run({ argv: [ip, ...args], timeoutMs: COMMAND_TIMEOUT_MS });
  try {
    if (!existsSync(`/sys/class/net/${bridge}`)) await run("link", "add", "name", bridge, "type", "bridge");
    await run("link", "set", bridge, "up");
  } catch (error) {
    logger.warn({ err: error }, "a private bridge cannot be made here: instances use qemu's user networking");
    return none;
  }
  return {
    bridge,
    async remove() {
      await run("link", "delete", bridge);
    },
  };
}

/** Restarting this machine at once, whatever runs on it (spec/node-ops.json, `powercycle`). */
import { writeFile } from "node:fs/promises";
import { canHypervisor, type HypervisorDriver } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { HypervisorName } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";

/** The kernel's switch (Documentation/admin-guide/sysrq.rst): `b` restarts without a sync. */
export const KERNEL_TRIGGER = "/proc/sysrq-trigger";
/** Where the kernel's switch is turned off. */
export const REBOOT_COMMAND = ["/sbin/reboot", "-n", "-f"] as const;

export interface PowerCycleParts {
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** File that restarts the machine when `b` is written to it; undefined where this agent must not do that. */
  readonly trigger: string | undefined;
  /** Tried where the trigger does not help; nothing when absent. */
  readonly command?: readonly [program: string, ...args: string[]];
  /** Until the restart, for the answer to get out. */
  readonly delayMs?: number;
}

const DELAY_MS = 5_000;
const REBOOT_TIMEOUT_MS = 60_000;

export class PowerCycle {
  readonly #parts: PowerCycleParts;

  constructor(parts: PowerCycleParts) {
    this.#parts = parts;
  }

  /**
   * The machine restarts some seconds after this.
   * @param hypervisor - the node's; one that is below the node's kernel does it itself
   * @returns when, in words
   * @throws OpPrereqError (wrong_state) where this agent must not restart its machine
   */
  schedule(hypervisor: HypervisorName): string {
    const { trigger, logger, delayMs = DELAY_MS } = this.#parts;
    if (trigger === undefined)
      throw new OpPrereqError(
        "This node's agent does not restart its machine (powercycle in its configuration)",
        "wrong_state",
      );
    logger.warn({ delayMs }, "this machine restarts");
    setTimeout(() => void this.#restart(hypervisor, trigger), delayMs);
    return `Reboot scheduled in ${delayMs / 1000} seconds`;
  }

  /** One way after the other until the machine is down. */
  async #restart(hypervisor: HypervisorName, trigger: string): Promise<void> {
    const { hypervisors, command, runner, logger } = this.#parts;
    const driver = hypervisors.get(hypervisor);
    const signal = new AbortController().signal;
    const below = driver !== undefined && canHypervisor(driver, "powercycle") ? [() => driver.powercycle(signal)] : [];
    const ways: readonly (() => Promise<unknown>)[] = [
      ...below,
      () => writeFile(trigger, "b"),
      ...(command === undefined ? [] : [() => runner.run({ argv: command, timeoutMs: REBOOT_TIMEOUT_MS })]),
    ];
    for (const way of ways) {
      try {
        await way();
        return;
      } catch (error) {
        logger.error({ err: error }, "could not restart this machine in one way; trying the next");
      }
    }
  }
}

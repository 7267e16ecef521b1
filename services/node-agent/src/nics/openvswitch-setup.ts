/** The node's own Open vSwitch, to which guests' NICs are connected (spec/node-ops.json, `nic.ovs_setup`). */
import { access } from "node:fs/promises";
import { CommandError, OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { NetworkTools } from "./network-tools.ts";

export interface OpenvswitchSetup {
  /**
   * Make the switch, and connect an interface to it, unless that is so already.
   * @param link - the interface; none when empty
   * @throws OpPrereqError (environment_error) without Open vSwitch; OpExecError with what it says
   */
  configure(wanted: { readonly name: string; readonly link: string }, signal: AbortSignal): Promise<void>;
}

const TIMEOUT_MS = 30_000;

export function createOpenvswitchSetup({
  runner,
  tools,
}: {
  readonly runner: CommandRunner;
  readonly tools: Pick<NetworkTools, "ovsVsctl">;
}): OpenvswitchSetup {
  return {
    async configure({ name, link }, signal) {
      const { ovsVsctl } = tools;
      await access(ovsVsctl).catch((cause: unknown) => {
        throw new OpPrereqError(
          `The switch ${name} cannot be made: there is no ${ovsVsctl} on this node; install Open vSwitch`,
          "environment_error",
          { cause },
        );
      });
      // One transaction: a switch without its link is not left behind.
      const port = link === "" ? [] : ["--", "--may-exist", "add-port", name, link];
      const argv = [ovsVsctl, "--may-exist", "add-br", name, ...port] as const;
      try {
        await runner.run({ argv, timeoutMs: TIMEOUT_MS, signal });
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof CommandError)) throw error;
        throw new OpExecError(`The switch ${name} cannot be set up: ${error.message}`, { cause: error });
      }
    },
  };
}

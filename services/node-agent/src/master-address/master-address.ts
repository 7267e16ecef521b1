/** The cluster's own address on this node: up where the master is, and nowhere else. */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import path from "node:path";
import { CommandError, OpExecError, OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { isIpv4 } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { answers, isOwn } from "../node-facts/addresses.ts";
import { distrustOfProgramAt } from "../site-commands/trusted-file.ts";
import {
  type AddressTools,
  addArgv,
  announceArgv,
  type MasterAddress,
  type PresentAddress,
  parseAddresses,
  removeArgv,
  showArgv,
} from "./address-commands.ts";

export const SYSTEM_ADDRESS_TOOLS: AddressTools = {
  ip: "/sbin/ip",
  arping: "/usr/bin/arping",
  ndisc6: "/usr/bin/ndisc6",
};
/** Ganeti's place for a site's scripts. */
export const GANETI_SCRIPT_FOLDER = "/etc/ganeti/scripts";

/** The site's own script (spec/node-ops.json, `master_ip`, external). */
export function siteScriptIn(scriptFolder: string): string {
  return path.join(scriptFolder, "master-ip-setup");
}

const COMMAND_TIMEOUT_MS = 30_000;
const SCRIPT_TIMEOUT_MS = 60_000;
/** Port of whatever machine has the address: one that refuses the connection answers, too. */
const PROBED_PORT = 1811;

export interface MasterAddressParts {
  readonly tools: AddressTools;
  /** Holds `master-ip-setup`, if the site has one. */
  readonly scriptFolder: string;
  readonly runner: CommandRunner;
  readonly logger: Logger;
  /** User id that the script must belong to; root's by default. */
  readonly owner?: number;
  /** Whether another machine has an address; by default one that answers there (TCP), and is not this one. */
  readonly isElsewhere?: (address: string, signal: AbortSignal) => Promise<boolean>;
}

export interface MasterAddressRequest {
  readonly address: MasterAddress;
  /** The site's script does it. */
  readonly useExternalScript: boolean;
}

export class MasterAddressSetup {
  readonly #parts: MasterAddressParts;

  constructor(parts: MasterAddressParts) {
    this.#parts = parts;
  }

  /**
   * @throws OpPrereqError (environment_error) when another machine has the address, or the site's script must not be
   *   run; OpExecError when a command fails
   */
  async activate({ address: wanted, useExternalScript }: MasterAddressRequest, signal: AbortSignal): Promise<void> {
    if (useExternalScript) return this.#runScript("start", wanted, signal);
    if ((await this.#present(wanted.address, signal)).length > 0) return;
    if (await (this.#parts.isElsewhere ?? isElsewhere)(wanted.address, signal))
      throw new OpPrereqError(
        `Another machine has the cluster's address ${wanted.address}: it must give it up first`,
        "environment_error",
      );
    await this.#run(addArgv(this.#parts.tools, wanted), signal);
    await this.#announce(wanted, signal);
  }

  /** Only where {@link activate} has put it. @throws as {@link activate} */
  async deactivate({ address: former, useExternalScript }: MasterAddressRequest, signal: AbortSignal): Promise<void> {
    if (useExternalScript) return this.#runScript("stop", former, signal);
    for (const present of await this.#present(former.address, signal))
      if (present.isMarked && present.netdev === former.netdev)
        await this.#run(removeArgv(this.#parts.tools, present), signal);
  }

  /**
   * Without the address being down in between.
   * @throws OpPrereqError (wrong_state) when it is not up on its interface; OpExecError when a command fails
   */
  async changeNetmask(current: MasterAddress, netmask: number, signal: AbortSignal): Promise<void> {
    const wanted = { ...current, netmask };
    const own = (await this.#present(current.address, signal)).filter(
      ({ isMarked, netdev }) => isMarked && netdev === current.netdev,
    );
    if (own.length === 0)
      throw new OpPrereqError(
        `The cluster's address ${current.address} is not up on ${current.netdev}: its netmask cannot be changed there`,
        "wrong_state",
      );
    if (!own.some((present) => present.netmask === netmask))
      await this.#run(addArgv(this.#parts.tools, wanted), signal);
    for (const present of own.filter((each) => each.netmask !== netmask))
      await this.#run(removeArgv(this.#parts.tools, present), signal);
  }

  async #present(address: string, signal: AbortSignal): Promise<readonly PresentAddress[]> {
    const { stdout } = await this.#run(showArgv(this.#parts.tools), signal);
    return parseAddresses(stdout).filter((present) => present.address === address);
  }

  /** Without the tool, and when it fails, neighbours notice later. */
  async #announce(where: MasterAddress, signal: AbortSignal): Promise<void> {
    const argv = announceArgv(this.#parts.tools, where);
    if (!(await isExecutable(argv[0]))) {
      this.#parts.logger.info({ tool: argv[0] }, "the cluster's address is not announced: there is no such tool");
      return;
    }
    try {
      await this.#run(argv, signal);
    } catch (error) {
      signal.throwIfAborted();
      this.#parts.logger.warn({ err: error }, "the cluster's address could not be announced");
    }
  }

  async #runScript(action: "start" | "stop", where: MasterAddress, signal: AbortSignal): Promise<void> {
    const { scriptFolder, owner = 0 } = this.#parts;
    const script = siteScriptIn(scriptFolder);
    const distrust = await distrustOfProgramAt(script, owner);
    if (distrust !== undefined)
      throw new OpPrereqError(`The script ${script} cannot be run: ${distrust}`, "environment_error");
    const env = {
      MASTER_NETDEV: where.netdev,
      MASTER_IP: where.address,
      MASTER_NETMASK: String(where.netmask),
      CLUSTER_IP_VERSION: isIpv4(where.address) ? "4" : "6",
    };
    await this.#run([script, action], signal, { env, timeoutMs: SCRIPT_TIMEOUT_MS });
  }

  async #run(
    argv: readonly [string, ...string[]],
    signal: AbortSignal,
    options: { readonly env?: Readonly<Record<string, string>>; readonly timeoutMs?: number } = {},
  ) {
    try {
      return await this.#parts.runner.run({ argv, timeoutMs: COMMAND_TIMEOUT_MS, signal, ...options });
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      throw new OpExecError(error.message, { cause: error });
    }
  }
}

async function isElsewhere(address: string, signal: AbortSignal): Promise<boolean> {
  return !(await isOwn(address)) && (await answers({ address, port: PROBED_PORT }, undefined, signal));
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

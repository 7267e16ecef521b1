/** Connecting a guest's NICs to the node's networks before qemu starts, and taking that back. */
import { access, mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { CommandError, GannetError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { normalizeMac } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import type { NetworkTools } from "../../../nics/network-tools.ts";
import type { NicEvent } from "../../../nics/nic-environment.ts";
import { runSiteScript, siteScript } from "../../../nics/site-scripts.ts";
import {
  bridgedSteps,
  modeFault,
  openvswitchDownArgv,
  openvswitchSteps,
  readBridge,
  routedSteps,
  ruleRemovalArgv,
  type Steps,
} from "./modes.ts";
import { removeTap, type TapShape, tapArgv, tapObstacle } from "./tap.ts";
import { isTapName, tapName } from "./tap-name.ts";

const TIMEOUT_MS = 10_000;
/** More rules of one interface are nobody's. */
const MOST_RULES = 16;
const OLDER_SCRIPTS = { up: "kvm-vif-bridge", down: "kvm-ifdown-custom" } as const;

/** One NIC of a guest on its way up. */
export interface NicConnection {
  readonly guest: GuestSpec;
  readonly nic: GuestNic;
  /** Where the guest's interfaces are noted (`RuntimePaths.nicFolder`). */
  readonly folder: string;
  readonly tap: TapShape;
  /**
   * A guest that is still to come from another node must not have traffic drawn here yet: its routed NICs are
   * connected when it has come (`arrive`).
   */
  readonly phase: "start" | "incoming";
}

export class NicConnections {
  readonly #runner: CommandRunner;
  readonly #logger: Logger;
  readonly #tools: NetworkTools;

  constructor(parts: { runner: CommandRunner; logger: Logger; tools: NetworkTools }) {
    this.#runner = parts.runner;
    this.#logger = parts.logger;
    this.#tools = parts.tools;
  }

  /**
   * Whether this node can connect these NICs.
   * @throws HypervisorError naming the NIC and what is missing
   */
  async check(guest: GuestSpec, nics: readonly GuestNic[] = guest.nics): Promise<void> {
    for (const nic of nics) {
      const fault = macFault(nic.mac) ?? (await this.#fault(nic));
      if (fault !== undefined) throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: ${fault}`);
    }
  }

  /**
   * All NICs of a guest.
   * @throws HypervisorError; nothing stays connected then
   */
  async connectAll(connection: Omit<NicConnection, "nic">, signal: AbortSignal): Promise<void> {
    const { guest, folder } = connection;
    try {
      for (const nic of guest.nics) await this.connect({ ...connection, nic }, signal);
    } catch (error) {
      await this.disconnectAll(folder, guest);
      throw error;
    }
  }

  /**
   * The tap is noted before it is made: in a file called by the NIC's index that holds the interface's name. Firewalls
   * and monitoring may read it too. A tap of the same name, left by an earlier start of this NIC, is replaced.
   * @throws HypervisorError; no tap is left then
   */
  async connect(connection: NicConnection, signal: AbortSignal): Promise<void> {
    const { nic, folder, tap } = connection;
    if (nic.mode === "user") return;
    const name = tapName(nic.uuid);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(path.join(folder, String(nic.index)), `${name}\n`, { mode: 0o600 });
    await removeTap(this.#runner, this.#tools, name);
    try {
      await this.#run(tapArgv(this.#tools, name, tap), signal);
      await this.#bringUp(connection, name, signal);
    } catch (error) {
      await removeTap(this.#runner, this.#tools, name);
      if (!(error instanceof CommandError)) throw error;
      const network = nic.link === "" ? "its network" : nic.link;
      throw new HypervisorError(`NIC ${nic.index} cannot be connected to ${network}: ${error.message}`, {
        cause: error,
      });
    }
  }

  /** What had to wait until the guest has come. @throws HypervisorError */
  async arrive(guest: GuestSpec, signal: AbortSignal): Promise<void> {
    for (const nic of guest.nics) {
      const name = tapName(nic.uuid);
      if (nic.mode === "routed") await this.#up(guest, nic, { interface: name, action: "up" }, signal);
      if (nic.mode === "ext")
        await this.#up(guest, nic, { interface: name, action: "up", migrationPhase: "post" }, signal);
    }
  }

  /**
   * Remove every interface noted in the folder, and the folder. Succeeds when there is none.
   * @param guest - for the site's scripts, which are not called where it is not known
   * @throws HypervisorError when an interface stays
   */
  async disconnectAll(folder: string, guest: GuestSpec | undefined): Promise<void> {
    for (const note of await readdir(folder).catch(() => [])) {
      const name = (await readFile(path.join(folder, note), "utf8")).trim();
      const nic = guest?.nics.find(({ uuid }) => tapName(uuid) === name);
      if (isTapName(name)) await this.#takeDown(name, guest, nic);
    }
    await rm(folder, { recursive: true, force: true });
  }

  /** One NIC of a guest that goes on. @throws HypervisorError when its interface stays */
  async disconnect(folder: string, guest: GuestSpec, nic: GuestNic): Promise<void> {
    if (nic.mode === "user") return;
    await this.#takeDown(tapName(nic.uuid), guest, nic);
    await rm(path.join(folder, String(nic.index)), { force: true });
  }

  /** The notes after NICs have come or gone in between, by the indexes they have now. */
  async renumber(folder: string, nics: readonly GuestNic[]): Promise<void> {
    const noted = nics.filter(({ mode }) => mode !== "user");
    if (noted.length > 0) await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const nic of noted)
      await writeFile(path.join(folder, String(nic.index)), `${tapName(nic.uuid)}\n`, { mode: 0o600 });
    const stale = (await readdir(folder).catch(() => [])).filter((note) =>
      noted.every(({ index }) => String(index) !== note),
    );
    for (const note of stale) await rm(path.join(folder, note), { force: true });
  }

  async #fault(nic: GuestNic): Promise<string | undefined> {
    if (nic.mode === "user") return undefined;
    const script = await siteScript(this.#tools.scriptFolder, nic.mode, "up", OLDER_SCRIPTS);
    const fault = await modeFault(this.#runner, this.#tools, nic, { siteScript: script !== undefined });
    if (fault !== undefined) return fault;
    const obstacle = await tapObstacle();
    return obstacle === undefined ? undefined : `it cannot be connected to ${nic.link || "its network"}: ${obstacle}`;
  }

  async #bringUp({ guest, nic, phase }: NicConnection, name: string, signal: AbortSignal): Promise<void> {
    const event = { interface: name, action: "up" } as const;
    if (phase === "start") return this.#up(guest, nic, event, signal);
    if (nic.mode === "routed") return;
    if (nic.mode !== "ext") return this.#up(guest, nic, event, signal);
    // As in Ganeti, a script of mode ext may prepare things, and need not know how to.
    await this.#up(guest, nic, { ...event, migrationPhase: "pre" }, signal).catch((error) => {
      this.#logger.warn({ instance: guest.name, nic: nic.index, error }, "a NIC could not be prepared for a migration");
    });
  }

  async #up(guest: GuestSpec, nic: GuestNic, event: NicEvent, signal: AbortSignal): Promise<void> {
    const script = await siteScript(this.#tools.scriptFolder, nic.mode, event.action, OLDER_SCRIPTS);
    if (script !== undefined) return runSiteScript(this.#runner, script, { guest, nic, event }, signal);
    const { commands, settings } = await this.#stepsOf(nic, event.interface);
    for (const argv of commands) await this.#run(argv, signal);
    // A kernel without one of the two protocols has not its settings.
    for (const file of settings) if (await exists(file)) await writeFile(file, "1");
  }

  async #stepsOf(nic: GuestNic, tap: string): Promise<Steps> {
    switch (nic.mode) {
      case "bridged":
        return bridgedSteps(this.#tools, nic, tap, await readBridge(nic.link));
      case "openvswitch":
        return openvswitchSteps(this.#tools, nic, tap);
      case "routed":
        await this.#removeRules(tap);
        return routedSteps(this.#tools, nic, tap);
      case "ext":
        throw new HypervisorError(`mode ext needs the site's script ${this.#tools.scriptFolder}/network/ext/up`);
      case "user":
        return { commands: [], settings: [] };
    }
  }

  /** Whatever a script or a switch says, the tap goes. */
  async #takeDown(name: string, guest: GuestSpec | undefined, nic: GuestNic | undefined): Promise<void> {
    const mode = nic?.mode ?? (await modeOf(name));
    try {
      await this.#down(name, mode, guest, nic);
    } catch (error) {
      this.#logger.warn({ instance: guest?.name, interface: name, error }, "an interface was not taken down in order");
    }
    await removeTap(this.#runner, this.#tools, name);
  }

  async #down(
    name: string,
    mode: GuestNic["mode"],
    guest: GuestSpec | undefined,
    nic: GuestNic | undefined,
  ): Promise<void> {
    const script = await siteScript(this.#tools.scriptFolder, mode, "down", OLDER_SCRIPTS);
    if (script !== undefined && guest !== undefined && nic !== undefined) {
      return runSiteScript(this.#runner, script, { guest, nic, event: { interface: name, action: "down" } });
    }
    if (mode === "openvswitch") await this.#run(openvswitchDownArgv(this.#tools, name));
    if (mode === "routed") await this.#removeRules(name);
  }

  async #removeRules(tap: string): Promise<void> {
    for (const family of ["-4", "-6"] as const) {
      for (let count = 0; count < MOST_RULES; count++) {
        const argv = ruleRemovalArgv(this.#tools, tap, family);
        const { exitCode } = await this.#runner.run({ argv, timeoutMs: TIMEOUT_MS, okExitCodes: [0, 2] });
        if (exitCode !== 0) break;
      }
    }
  }

  async #run(argv: readonly [string, ...string[]], signal?: AbortSignal): Promise<void> {
    await this.#runner.run({ argv, timeoutMs: TIMEOUT_MS, ...(signal === undefined ? {} : { signal }) });
  }
}

/** Told by the interface itself, when the guest's record is lost. */
async function modeOf(tap: string): Promise<GuestNic["mode"]> {
  const master = await readlink(`/sys/class/net/${tap}/master`).catch(() => undefined);
  if (master === undefined) return "routed";
  return path.basename(master) === "ovs-system" ? "openvswitch" : "bridged";
}

function macFault(mac: string): string | undefined {
  try {
    return normalizeMac(mac) === mac ? undefined : `MAC address ${mac} is not in lower case`;
  } catch (error) {
    if (error instanceof GannetError) return error.message;
    throw error;
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

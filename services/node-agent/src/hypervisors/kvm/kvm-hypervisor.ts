/** Guests as qemu processes that go on when the agent ends. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type {
  GuestConsole,
  GuestSpec,
  GuestState,
  HypervisorDriver,
  HypervisorFacts,
  StartOptions,
  StopOptions,
} from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { checkGuestName } from "../guest-name.ts";
import type { HypervisorParts } from "../hypervisor-parts.ts";
import { type ProcessIdentity, processLives, processTimes } from "../process-identity.ts";
import { RecordFiles } from "../record-files.ts";
import { SerialByKey } from "../serial-by-key.ts";
import { AccelerationProbe } from "./acceleration.ts";
import { guestConsole } from "./console.ts";
import { prepareLog, removeLog, removeRuntimeFiles, removeVncSocket } from "./guest-files.ts";
import { GuestMonitor } from "./guest-monitor.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { LaunchPlanner } from "./launch-planner.ts";
import { connectNics, disconnectNics } from "./nic/connections.ts";
import { makePrivateFolder, shortPrivateFolder } from "./private-folder.ts";
import { endProcess, endsWithin, findQemu, launchQemu, logTail } from "./qemu-process.ts";
import { type RuntimeFolders, type RuntimePaths, runtimeFolders, runtimePaths } from "./runtime-paths.ts";
import { type RuntimeRecord, runtimeRecord } from "./runtime-record.ts";

const DEFAULT_QEMU_PATH = "/usr/bin/kvm";
/** A guest that is being killed gets this long between SIGTERM and SIGKILL. */
const KILL_GRACE_MS = 5_000;
/** Guests that are just booting miss a press of the power button, so it is pressed again. */
const POWERDOWN_REPEAT_MS = 5_000;
/** Recovery does not wait longer for guests whose monitor hangs; they are followed when they answer. */
const RECOVERY_WAIT_MS = 2_000;
const BYTES_PER_MIB = 1024 * 1024;

/** What a guest uses that has ended. */
const NOTHING_USED = { memoryMib: 0, vcpus: 0, uptimeSeconds: 0, cpuSeconds: 0 } as const;

interface RunningGuest {
  readonly record: RuntimeRecord & { phase: "running" };
  readonly monitor: GuestMonitor;
}

/** One that ended by itself and has been neither stopped nor started since. */
interface EndedGuest {
  readonly record: RuntimeRecord & { phase: "ended" };
  readonly monitor: undefined;
}

type KnownGuest = RunningGuest | EndedGuest;

export class KvmHypervisor implements HypervisorDriver {
  readonly name = "kvm";
  readonly #parts: HypervisorParts;
  readonly #folders: RuntimeFolders;
  readonly #planner: LaunchPlanner;
  readonly #acceleration: AccelerationProbe;
  readonly #records: RecordFiles<RuntimeRecord>;
  readonly #serial = new SerialByKey();
  readonly #guests = new Map<string, KnownGuest>();
  readonly #listeners = new Set<(guestName: string) => void>();

  constructor(parts: HypervisorParts) {
    const { stateDir, runner, logger, options } = parts;
    this.#parts = parts;
    this.#folders = runtimeFolders(stateDir, shortPrivateFolder());
    this.#acceleration = new AccelerationProbe({
      setting: options.kvmAcceleration ?? "auto",
      runner,
      logger,
      imagePath: path.join(this.#folders.conf, "acceleration-test.bin"),
    });
    this.#planner = new LaunchPlanner({ folders: this.#folders, acceleration: this.#acceleration, runner });
    this.#records = new RecordFiles(this.#folders.conf, runtimeRecord, logger);
  }

  async recover(): Promise<void> {
    for (const folder of Object.values(this.#folders)) {
      await makePrivateFolder(path.dirname(folder));
      await makePrivateFolder(folder);
    }
    const records = await this.#records.readAll();
    const { logger } = this.#parts;
    const takenUp = records.map((record) =>
      this.#serial
        .run(record.guest.name, () => this.#takeUp(record))
        // One guest in trouble must not keep the agent from the others.
        .catch((error) => logger.error({ instance: record.guest.name, error }, "a guest could not be taken up again")),
    );
    await Promise.all(takenUp);
  }

  async describe(): Promise<HypervisorFacts> {
    const qemu = await this.#planner.binaries.facts(this.#parts.options.qemuPath ?? DEFAULT_QEMU_PATH);
    const verdict = await this.#acceleration.verdict(qemu);
    return { name: this.name, version: qemu.version.text, accelerated: verdict.works };
  }

  async validate(guest: GuestSpec): Promise<void> {
    await this.#planner.plan(guest, undefined);
  }

  start(guest: GuestSpec, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guest.name, async () => {
      const known = this.#guests.get(guest.name);
      if (known !== undefined && (await isAlive(known))) return this.#runningAlready(known, guest);
      return this.#start(await this.#planner.plan(guest, undefined), options, signal);
    });
  }

  stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    return this.#serial.run(guestName, () => this.#stop(guestName, options, signal));
  }

  reboot(guestName: string, options: StopOptions, signal: AbortSignal): Promise<GuestState> {
    return this.#serial.run(guestName, async () => {
      const { record } = await this.#running(guestName);
      // Planned before the guest is stopped: what cannot be started again is better left running.
      const plan = await this.#planner.plan(record.guest, record.machine);
      await this.#stop(guestName, options, signal);
      return this.#start(plan, { paused: false }, signal);
    });
  }

  async state(guestName: string): Promise<GuestState | undefined> {
    const known = this.#guests.get(guestName);
    return known === undefined ? undefined : stateOf(known);
  }

  async list(): Promise<readonly GuestState[]> {
    return Promise.all([...this.#guests.values()].map(stateOf));
  }

  async console(guestName: string): Promise<GuestConsole> {
    const { record } = await this.#running(guestName);
    return guestConsole(record.guest, this.#paths(guestName));
  }

  onChange(listener: (guestName: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    for (const { monitor } of this.#guests.values()) monitor?.close();
    this.#listeners.clear();
  }

  async #takeUp(record: RuntimeRecord): Promise<void> {
    switch (record.phase) {
      case "starting":
        // Nobody was told that this start succeeded, so it has not.
        this.#parts.logger.warn({ instance: record.guest.name }, "removing a guest whose start was cut short");
        return this.#remove(record.guest.name, record.guest);
      case "ended":
        this.#guests.set(record.guest.name, { record, monitor: undefined });
        return;
      case "running": {
        if (!(await processLives(record.process))) return this.#recordEnd(record, "shutdown");
        const monitor = this.#follow(record.guest, record.process);
        this.#guests.set(record.guest.name, { record, monitor });
        const waited = new AbortController();
        await Promise.race([
          monitor.refreshed(),
          delay(RECOVERY_WAIT_MS, undefined, { signal: waited.signal }).catch(() => {}),
        ]);
        waited.abort();
      }
    }
  }

  async #runningAlready(known: KnownGuest, asked: GuestSpec): Promise<GuestState> {
    if (known.record.guest.uuid === asked.uuid) return stateOf(known);
    throw new HypervisorError(
      `Another instance called ${asked.name} runs on this node (${known.record.guest.uuid}, not ${asked.uuid})`,
    );
  }

  async #start(plan: LaunchPlan, options: StartOptions, signal: AbortSignal): Promise<GuestState> {
    const { guest } = plan;
    const foreign = await findQemu(plan.paths.pidFile);
    if (foreign !== undefined) {
      throw new HypervisorError(
        `A qemu that the agent has no record of runs as ${guest.name} (process ${foreign.pid}); stop the instance first`,
      );
    }
    await this.#remove(guest.name, this.#guests.get(guest.name)?.record.guest);
    try {
      const known = await this.#bringUp(plan, options, signal);
      this.#guests.set(guest.name, known);
      return await stateOf(known);
    } catch (error) {
      await this.#remove(guest.name, guest).catch((cleanup) => {
        this.#parts.logger.error({ instance: guest.name, error: cleanup }, "a failed start could not be cleaned up");
      });
      throw error;
    }
  }

  async #bringUp(plan: LaunchPlan, options: StartOptions, signal: AbortSignal): Promise<RunningGuest> {
    const { guest, machine, paths } = plan;
    const { runner, logger } = this.#parts;
    if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
    await this.#records.write(paths.stem, { version: 1, guest, machine, phase: "starting" });
    await connectNics(runner, guest, paths.nicFolder, signal);
    await prepareLog(paths);
    const process = await launchQemu(runner, plan, signal);
    const monitor = this.#follow(guest, process);
    try {
      await monitor.verifyIdentity();
      await this.#prepare(plan, monitor);
      if (!options.paused) await monitor.execute({ name: "cont" });
      await monitor.refreshStatus();
      if (signal.aborted) throw new HypervisorError(`The start of ${guest.name} was aborted`);
      const record = { version: 1, guest, machine, phase: "running", process } as const;
      await this.#records.write(paths.stem, record);
      logger.info({ instance: guest.name, pid: process.pid, accelerator: plan.accelerator }, "guest started");
      return { record, monitor };
    } catch (error) {
      monitor.close();
      throw await explainedByLog(error, plan, process);
    }
  }

  /** What is set while the guest has not executed anything yet. */
  async #prepare({ guest, params, vnc }: LaunchPlan, monitor: GuestMonitor): Promise<void> {
    if (vnc?.password) {
      const [password = ""] = (await readFile(params.vnc_password_file, "utf8")).split(/\r?\n/, 1);
      if (password === "")
        throw new HypervisorError(`vnc_password_file: ${params.vnc_password_file} begins with no password`);
      await monitor.execute({ name: "set_password", arguments: { protocol: "vnc", password } });
    }
    if (guest.startMemoryMib < guest.maxMemoryMib) {
      await monitor.execute({ name: "balloon", arguments: { value: guest.startMemoryMib * BYTES_PER_MIB } });
    }
  }

  async #stop(guestName: string, options: StopOptions, signal: AbortSignal): Promise<void> {
    checkGuestName(guestName);
    const known = this.#guests.get(guestName);
    const process = known?.monitor?.process ?? (await findQemu(this.#paths(guestName).pidFile));
    if (process !== undefined && (await processLives(process))) {
      const asksFirst = !options.force && known?.record.guest.hvparams.acpi === true;
      if (asksFirst && known?.monitor !== undefined) await this.#powerDown(known.monitor, options.timeoutMs, signal);
      if (signal.aborted) throw new HypervisorError(`Stopping ${guestName} was aborted`);
      await endProcess(process, options.force || asksFirst ? KILL_GRACE_MS : options.timeoutMs);
    }
    known?.monitor?.close();
    await this.#remove(guestName, known?.record.guest);
  }

  /** Ask the guest to shut down, for as long as it may take. */
  async #powerDown(monitor: GuestMonitor, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (let leftMs = timeoutMs; leftMs > 0 && !signal.aborted; leftMs = deadline - performance.now()) {
      const waitMs = Math.min(leftMs, POWERDOWN_REPEAT_MS);
      await monitor.execute({ name: "system_powerdown" }, { timeoutMs: waitMs }).catch((error) => {
        this.#parts.logger.warn({ error }, "a guest could not be asked to shut down");
      });
      if (await endsWithin(monitor.process, Math.min(waitMs, deadline - performance.now()), signal)) return;
    }
  }

  #follow(guest: GuestSpec, process: ProcessIdentity): GuestMonitor {
    const monitor = new GuestMonitor({
      guest,
      process,
      qmpSocket: this.#paths(guest.name).qmpSocket,
      logger: this.#parts.logger,
      onChange: () => this.#notify(guest.name),
      onEnd: () => {
        this.#serial
          .run(guest.name, () => this.#ended(guest.name, monitor))
          .catch((error) =>
            this.#parts.logger.error({ instance: guest.name, error }, "cleaning up after a guest failed"),
          );
      },
    });
    return monitor;
  }

  /** A guest that nobody stopped is gone. */
  async #ended(guestName: string, monitor: GuestMonitor): Promise<void> {
    const known = this.#guests.get(guestName);
    if (known?.monitor !== monitor) return;
    const status = monitor.endStatus;
    const log = await logTail(this.#paths(guestName).logFile);
    this.#parts.logger.warn({ instance: guestName, status, log }, "the guest has ended by itself");
    await this.#recordEnd(known.record, status);
    this.#notify(guestName);
  }

  /** Release what the guest held; its record stays, so that its state can be told until it is stopped or started. */
  async #recordEnd(before: RuntimeRecord & { phase: "running" }, status: "shutdown" | "crashed"): Promise<void> {
    const { guest, machine } = before;
    const paths = this.#paths(guest.name);
    const record = { version: 1, guest, machine, phase: "ended", status } as const;
    this.#guests.set(guest.name, { record, monitor: undefined });
    await this.#records.write(paths.stem, record);
    await this.#release(guest.name, guest);
  }

  /** Everything of the guest on this node, its process too. What is gone already is no error. */
  async #remove(guestName: string, guest: GuestSpec | undefined): Promise<void> {
    const paths = this.#paths(guestName);
    const process = await findQemu(paths.pidFile);
    if (process !== undefined) await endProcess(process, KILL_GRACE_MS);
    await this.#release(guestName, guest);
    await removeLog(paths);
    await this.#records.remove(paths.stem);
    this.#guests.delete(guestName);
  }

  /** What a guest holds whose process is gone. */
  async #release(guestName: string, guest: GuestSpec | undefined): Promise<void> {
    const paths = this.#paths(guestName);
    await disconnectNics(this.#parts.runner, paths.nicFolder);
    await removeRuntimeFiles(paths);
    if (guest !== undefined) await removeVncSocket(guest);
  }

  async #running(guestName: string): Promise<RunningGuest> {
    const known = this.#guests.get(guestName);
    if (known?.monitor !== undefined && (await isAlive(known))) return known;
    throw new HypervisorError(`Instance ${guestName} does not run on this node`);
  }

  #paths(guestName: string): RuntimePaths {
    return runtimePaths(this.#folders, guestName);
  }

  #notify(guestName: string): void {
    for (const listener of this.#listeners) listener(guestName);
  }
}

/** When qemu is what failed, its own last words say more than that its monitor is gone. */
async function explainedByLog(error: unknown, plan: LaunchPlan, process: ProcessIdentity): Promise<unknown> {
  const said = (await processLives(process)) ? "" : await logTail(plan.paths.logFile);
  if (said === "") return error;
  return new HypervisorError(`Instance ${plan.guest.name}: qemu ended during its start: ${said}`, { cause: error });
}

async function isAlive(known: KnownGuest): Promise<boolean> {
  return known.monitor !== undefined && (await processLives(known.monitor.process));
}

async function stateOf(known: KnownGuest): Promise<GuestState> {
  const { name, uuid } = known.record.guest;
  const identity = { name, uuid, hypervisor: "kvm" } as const;
  if (known.monitor === undefined) return { ...identity, status: known.record.status, ...NOTHING_USED };
  const { status, memoryMib, vcpus, process, endStatus } = known.monitor;
  const times = await processTimes(process);
  if (times === undefined) return { ...identity, status: endStatus, ...NOTHING_USED };
  return { ...identity, status, memoryMib, vcpus, ...times };
}

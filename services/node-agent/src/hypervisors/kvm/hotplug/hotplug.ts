/** Disks and NICs that come to a running guest, change there and go. */
import type { GuestDisk, GuestNic, GuestSpec, HotplugDevice } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { Logger } from "@gannet/telemetry";
import { deviceUuid, presentDevice, withDevice, withoutDevice } from "../../guest-devices.ts";
import type { DevicePlaces } from "../argv/device-slots.ts";
import { tapShape } from "../argv/network-cards.ts";
import type { GuestMonitor } from "../guest-monitor.ts";
import { isConfined } from "../isolation/confined.ts";
import type { GuestRegister, RunningGuest } from "../known-guest.ts";
import type { LaunchPlan } from "../launch-plan.ts";
import type { LaunchPlanner } from "../launch-planner.ts";
import type { NicConnections } from "../nic/connections.ts";
import { qemuUid } from "../qemu-process.ts";
import { type DeviceCalls, deviceCalls, hotplugId } from "./device-calls.ts";
import { addDiskBackend } from "./disk-backend.ts";
import { hotplugObstacle } from "./obstacles.ts";
import { presentDevices, releaseDevice } from "./release-device.ts";

/** A guest that is going to let go does so within a second or two; under emulation it takes longer. */
const LET_GO_MS = 10_000;
const BYTES_PER_MIB = 1024 * 1024;

export interface HotplugParts {
  readonly register: GuestRegister;
  readonly planner: LaunchPlanner;
  readonly nics: NicConnections;
  readonly logger: Logger;
}

export class Hotplug {
  readonly #parts: HotplugParts;

  constructor(parts: HotplugParts) {
    this.#parts = parts;
  }

  /** @throws HypervisorError when neither disks nor NICs can come or go */
  async check(guestName: string): Promise<void> {
    const { record } = await this.#changeable(guestName);
    const obstacles = (["disk", "nic"] as const).map((kind) => hotplugObstacle(record, kind));
    if (obstacles.includes(undefined)) return;
    throw new HypervisorError([...new Set(obstacles)].map((each) => `Instance ${guestName} ${each}`).join("; "));
  }

  /** @throws HypervisorError; the guest has what it had then, but perhaps an empty SCSI controller more */
  async plug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    const known = await this.#changeable(guestName, device.kind);
    const guest = withDevice(known.record.guest, device);
    // As for a reboot: what could not be started again is not plugged in.
    const plan = await this.#parts.planner.plan(guest, known.record);
    const devices = await presentDevices(known.monitor);
    if (!devices.has(hotplugId(device))) await this.#add(known, plan, device, { devices, signal });
    await this.#keep(known, guest, plan.places);
  }

  /** @throws HypervisorError when the guest does not let go; it keeps the device then */
  async unplug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    const known = await this.#changeable(guestName, device.kind);
    await this.#take(known, device, signal);
    const { [hotplugId(device)]: _, ...places } = known.record.places;
    await this.#keep(known, withoutDevice(known.record.guest, device), places);
  }

  /** A NIC goes and comes again in its place; a disk with removable media gets another one. @throws HypervisorError */
  async replug(guestName: string, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    const known = await this.#changeable(guestName, device.kind);
    const before = presentDevice(known.record.guest, device);
    if (before === undefined)
      throw new HypervisorError(`Instance ${guestName} has no ${device.kind} ${deviceUuid(device)}`);
    const guest = withDevice(known.record.guest, device);
    const plan = await this.#parts.planner.plan(guest, known.record);
    if (device.kind === "disk") await changeMedium(known, deviceCalls(plan, device));
    else await this.#exchange(known, plan, { before, after: device }, signal);
    await this.#keep(known, guest, plan.places);
  }

  /** @throws HypervisorError, also for a size below the present one */
  async resizeDisk(guestName: string, disk: GuestDisk): Promise<void> {
    const known = await this.#changeable(guestName);
    const { guest, places } = known.record;
    const node = hotplugId({ kind: "disk", disk });
    const before = await nodeSize(known.monitor, node);
    if (before === undefined) throw new HypervisorError(`Instance ${guestName} has no disk ${disk.uuid}`);
    const size = disk.sizeMib * BYTES_PER_MIB;
    // Logical volumes are rounded up to whole extents, so that the node may be larger already.
    if (size > before) await known.monitor.execute({ name: "block_resize", arguments: { "node-name": node, size } });
    const disks = guest.disks.map((each) => (each.uuid === disk.uuid ? { ...each, sizeMib: disk.sizeMib } : each));
    await this.#keep(known, { ...guest, disks }, places);
  }

  /** @throws HypervisorError when it does not run, is just leaving, or such devices do not come and go with it */
  async #changeable(guestName: string, kind?: HotplugDevice["kind"]): Promise<RunningGuest> {
    const known = await this.#parts.register.running(guestName);
    if (known.record.leaving !== undefined)
      throw new HypervisorError(`Instance ${guestName} is being migrated; its devices cannot be changed now`);
    const obstacle = kind === undefined ? undefined : hotplugObstacle(known.record, kind);
    if (obstacle !== undefined) throw new HypervisorError(`Instance ${guestName} ${obstacle}`);
    return known;
  }

  async #add(
    known: RunningGuest,
    plan: LaunchPlan,
    device: HotplugDevice,
    { devices, signal }: { readonly devices: ReadonlySet<string>; readonly signal: AbortSignal },
  ): Promise<void> {
    const { monitor } = known;
    const calls = deviceCalls(withoutVhost(plan), device);
    // What an agent that was killed had come to.
    await removeBackend(monitor, device, calls.id).catch(() => {});
    try {
      if (device.kind === "nic") await this.#connect(monitor, plan, device.nic, signal);
      if (device.kind === "disk") await addDiskBackend(monitor, known.record.guest, calls.backend);
      else await monitor.execute({ name: "netdev_add", arguments: calls.backend });
      if (calls.controller !== undefined && !devices.has(calls.controller.id))
        await this.#addController(known, plan, calls.controller);
      if (signal.aborted) throw new HypervisorError(`Plugging ${calls.id} into ${plan.guest.name} was aborted`);
      await monitor.execute({ name: "device_add", arguments: calls.device });
    } catch (error) {
      await this.#discard(monitor, plan, device, calls.id);
      throw error;
    }
  }

  /**
   * It stays whatever becomes of the disk: a guest that does not let go of it, such as one that has not booted, could
   * not be made to. Recorded first, so that no agent that is killed in between leaves one that nobody knows.
   */
  async #addController(
    { record, monitor }: RunningGuest,
    { places }: LaunchPlan,
    controller: NonNullable<DeviceCalls["controller"]>,
  ): Promise<void> {
    const place = places[controller.id];
    if (place === undefined) throw new HypervisorError(`The controller ${controller.id} has no place`);
    const withIt = { ...record.places, [controller.id]: place };
    await this.#parts.register.keep({ record: { ...record, places: withIt }, monitor });
    await monitor.execute({ name: "device_add", arguments: controller });
  }

  /** The guest's side goes first. What is gone already is no error. */
  async #take({ record, monitor }: RunningGuest, device: HotplugDevice, signal: AbortSignal): Promise<void> {
    const guestName = record.guest.name;
    const id = hotplugId(device);
    const wasThere = (await presentDevices(monitor)).has(id);
    await releaseDevice(monitor, id, { guestName, limitMs: LET_GO_MS, signal });
    await removeBackend(monitor, device, id).catch((error) => {
      if (wasThere) throw error;
    });
    const known = presentDevice(record.guest, device);
    if (known?.kind === "nic") await this.#parts.nics.disconnect(this.#nicFolder(guestName), record.guest, known.nic);
  }

  async #exchange(
    known: RunningGuest,
    plan: LaunchPlan,
    { before, after }: { readonly before: HotplugDevice; readonly after: HotplugDevice },
    signal: AbortSignal,
  ): Promise<void> {
    await this.#take(known, before, signal);
    const devices = await presentDevices(known.monitor);
    try {
      await this.#add(known, plan, after, { devices, signal });
    } catch (error) {
      const planBefore = { ...plan, guest: known.record.guest };
      const never = new AbortController().signal;
      await this.#add(known, planBefore, before, { devices, signal: never }).catch((failure) => {
        this.#parts.logger.error(
          { instance: plan.guest.name, error: failure },
          "a NIC could neither be changed nor put back",
        );
      });
      throw error;
    }
  }

  async #connect(monitor: GuestMonitor, plan: LaunchPlan, nic: GuestNic, signal: AbortSignal): Promise<void> {
    const uid = await qemuUid(monitor.process);
    const runAs = uid === process.geteuid?.() ? null : { uid, gid: uid };
    const folder = plan.paths.nicFolder;
    const tap = tapShape({ ...plan, runAs });
    await this.#parts.nics.connect({ guest: plan.guest, nic, folder, tap, phase: "start" }, signal);
  }

  /** After an error: what can be taken back is. */
  async #discard(monitor: GuestMonitor, plan: LaunchPlan, device: HotplugDevice, id: string): Promise<void> {
    await removeBackend(monitor, device, id).catch((error) => {
      this.#parts.logger.debug({ instance: plan.guest.name, error }, "no backend to remove");
    });
    if (device.kind !== "nic") return;
    await this.#parts.nics.disconnect(plan.paths.nicFolder, plan.guest, device.nic).catch((error) => {
      this.#parts.logger.warn({ instance: plan.guest.name, error }, "a NIC's interface stays");
    });
  }

  async #keep({ record, monitor }: RunningGuest, guest: GuestSpec, places: DevicePlaces): Promise<void> {
    await this.#parts.nics.renumber(this.#nicFolder(guest.name), guest.nics);
    await this.#parts.register.keep({ record: { ...record, guest, places }, monitor });
  }

  #nicFolder(guestName: string): string {
    return this.#parts.planner.paths(guestName).nicFolder;
  }
}

/** The kernel moves packets only for who may open /dev/vhost-net, as a confined qemu may at its start alone. */
function withoutVhost(plan: LaunchPlan): LaunchPlan {
  return isConfined(plan.guest) ? { ...plan, vhostNet: false } : plan;
}

async function removeBackend(monitor: GuestMonitor, { kind }: HotplugDevice, id: string): Promise<void> {
  if (kind === "nic") return monitor.execute({ name: "netdev_del", arguments: { id } });
  if ((await nodeSize(monitor, id)) === undefined) return;
  await monitor.execute({ name: "blockdev-del", arguments: { "node-name": id } });
}

/** In bytes; undefined when there is no such node. */
async function nodeSize(monitor: GuestMonitor, node: string): Promise<number | undefined> {
  const nodes = await monitor.execute({ name: "query-named-block-nodes", arguments: { flat: true } });
  return nodes.find((each) => each["node-name"] === node)?.image["virtual-size"];
}

/** @throws HypervisorError when the disk is none with removable media; the old medium is in the drive again then */
async function changeMedium(
  { record: { guest }, monitor }: RunningGuest,
  { id, backend, device }: DeviceCalls,
): Promise<void> {
  if (device.driver !== "scsi-cd" && device.driver !== "ide-cd")
    throw new HypervisorError(`The disk ${id} is a ${String(device.driver)}, whose medium cannot be changed`);
  // A node that is in use elsewhere or cannot be opened is found out before anything is taken from the guest.
  const probe = `${id.slice(0, PROBE_ID_CHARS)}-new`;
  await addDiskBackend(monitor, guest, { ...backend, "node-name": probe });
  await monitor.execute({ name: "blockdev-del", arguments: { "node-name": probe } });
  await withOpenTray(monitor, id, async () => {
    await monitor.execute({ name: "blockdev-remove-medium", arguments: { id } });
  });
  if ((await nodeSize(monitor, id)) !== undefined)
    await monitor.execute({ name: "blockdev-del", arguments: { "node-name": id } });
  await addDiskBackend(monitor, guest, backend);
  await withOpenTray(monitor, id, async () => {
    await monitor.execute({ name: "blockdev-insert-medium", arguments: { id, "node-name": id } });
  });
  await monitor.execute({ name: "blockdev-close-tray", arguments: { id } });
}

/**
 * Do what needs an open tray. The guest has the drive, too, and may close it at any moment: a firmware that looks for
 * something to boot does.
 */
async function withOpenTray(monitor: GuestMonitor, id: string, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    await monitor.execute({ name: "blockdev-open-tray", arguments: { id, force: true } });
    try {
      return await work();
    } catch (error) {
      const wasClosed = error instanceof HypervisorError && error.message.includes("is not open");
      if (!wasClosed || attempt === TRAY_ATTEMPTS) throw error;
    }
  }
}

const TRAY_ATTEMPTS = 10;
/** Names of nodes have at most 31 characters. */
const PROBE_ID_CHARS = 27;

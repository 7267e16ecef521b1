/** Makes launch plans: checks a guest against what this node has, and resolves what the node decides. */
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { HYPERVISOR_PARAMETERS, isImageUrl } from "@gannet/objects";
import { checkGuestName, checkUuid } from "../guest-name.ts";
import { type AccelerationProbe, chooseAccelerator } from "./acceleration.ts";
import type { DevicePlaces } from "./argv/device-slots.ts";
import { TPM_DEVICE } from "./argv/firmware.ts";
import { networkDevice } from "./argv/network-cards.ts";
import { soundDevices } from "./argv/sound.ts";
import { placesOf } from "./argv.ts";
import { checkCpuPinning, parseCpuMask } from "./cpu-mask.ts";
import type { NonvolatileState } from "./firmware/nonvolatile-state.ts";
import { checkSwtpm } from "./firmware/swtpm.ts";
import { findUefiFirmware, type SentFirmware } from "./firmware/uefi-firmware.ts";
import { userNamed } from "./isolation/node-users.ts";
import type { UidPool } from "./isolation/uid-pool.ts";
import { type KvmParameters, readKvmParameters } from "./kvm-parameters.ts";
import type { GuestFirmware, LaunchPlan, NodeUser } from "./launch-plan.ts";
import type { NicConnections } from "./nic/connections.ts";
import { QemuBinaries, type QemuFacts } from "./qemu-binary.ts";
import { type RuntimeFolders, type RuntimePaths, runtimePaths } from "./runtime-paths.ts";
import type { SpiceCertificates } from "./spice-certificate.ts";
import { spiceListener } from "./spice-listener.ts";
import { vncListener } from "./vnc-listener.ts";

/** What stays as it is for as long as a guest has not been stopped: reboots and migrations do not change it. */
export interface KeptHardware {
  readonly machine: string;
  readonly places: DevicePlaces;
  /** Of a guest that comes from another node, when it has UEFI there. */
  readonly firmware?: SentFirmware;
}

const VHOST_NET = "/dev/vhost-net";

export class LaunchPlanner {
  readonly #folders: RuntimeFolders;
  readonly #acceleration: AccelerationProbe;
  readonly #nics: NicConnections;
  readonly #uids: UidPool;
  readonly #spiceCertificates: SpiceCertificates;
  readonly #nonvolatile: NonvolatileState;
  readonly #runner: CommandRunner;
  readonly binaries: QemuBinaries;

  constructor(parts: {
    readonly folders: RuntimeFolders;
    readonly acceleration: AccelerationProbe;
    readonly nics: NicConnections;
    readonly uids: UidPool;
    readonly spiceCertificates: SpiceCertificates;
    readonly nonvolatile: NonvolatileState;
    readonly runner: CommandRunner;
  }) {
    this.#folders = parts.folders;
    this.#acceleration = parts.acceleration;
    this.#nics = parts.nics;
    this.#uids = parts.uids;
    this.#spiceCertificates = parts.spiceCertificates;
    this.#nonvolatile = parts.nonvolatile;
    this.#runner = parts.runner;
    this.binaries = new QemuBinaries(parts.runner);
  }

  paths(guestName: string): RuntimePaths {
    return runtimePaths(this.#folders, guestName);
  }

  /**
   * @param kept the hardware of a guest that has run already; what its parameters ask for when undefined
   * @throws HypervisorError naming the parameter, disk or NIC that this node cannot serve
   */
  async plan(guest: GuestSpec, kept: KeptHardware | undefined): Promise<LaunchPlan> {
    checkIdentity(guest);
    const params = readKvmParameters(guest);
    await checkPaths(guest);
    await this.#nics.check(guest);
    const qemu = await this.binaries.facts(params.kvm_path);
    const accelerator = chooseAccelerator(params.kvm_flag, await this.#acceleration.verdict(qemu));
    const paths = runtimePaths(this.#folders, guest.name);
    const pinning = parseCpuMask(params.cpu_mask, guest.vcpus);
    await checkCpuPinning(pinning);
    const machine = resolveMachine(qemu, kept?.machine ?? params.machine_version);
    const plan: LaunchPlan = {
      guest,
      params,
      machine,
      accelerator,
      places: kept?.places ?? {},
      incoming: false,
      paths,
      vnc: vncListener(guest, params),
      spice: await spiceListener(guest, params, this.#spiceCertificates),
      pinning,
      firmware: await this.#firmware(guest, params, machine, kept?.firmware),
      tpm: await this.#tpm(guest, params),
      runAs: await this.#user(guest, params),
      chroot: params.use_chroot ? paths.chroot : null,
      runWith: qemu.runWith,
      vhostNet: accelerator === "kvm" && (await isUsable(VHOST_NET)),
    };
    if (plan.spice !== null && !qemu.spice) {
      throw new HypervisorError(`spice_bind: qemu ${qemu.version.text} (${qemu.path}) is built without SPICE`);
    }
    if (guest.nics.length > 0) checkDevice(qemu, "nic_type", networkDevice(plan));
    for (const device of soundDevices(plan)) checkDevice(qemu, "soundhw", device);
    if (plan.tpm !== null) checkDevice(qemu, "vtpm", TPM_DEVICE);
    // Building finds what only shows when everything is put together, such as a full bus.
    return { ...plan, places: placesOf(plan) };
  }

  /** @param sent of a guest that comes from another node: what it has here of its own is of no account then */
  async #firmware(
    { uuid }: GuestSpec,
    { uefi, secure_boot: secureBoot }: KvmParameters,
    machine: string,
    sent: SentFirmware | undefined,
  ): Promise<GuestFirmware | null> {
    if (!uefi) return null;
    const { vars } = this.#nonvolatile.paths(uuid, { secureBoot });
    const varsBytes = await this.#nonvolatile.varsSize({ vars });
    const sizes = sent ?? (varsBytes === undefined ? {} : { varsBytes });
    const firmware = await findUefiFirmware({ machine, secureBoot, sizes });
    return { ...firmware, vars, ...(sent?.vars === undefined ? {} : { sentVars: sent.vars }) };
  }

  async #tpm({ uuid }: GuestSpec, { vtpm, secure_boot: secureBoot }: KvmParameters): Promise<string | null> {
    if (!vtpm) return null;
    await checkSwtpm();
    return this.#nonvolatile.paths(uuid, { secureBoot }).tpm;
  }

  /** Known before the start, unless it is to be one of a pool. */
  async #user(guest: GuestSpec, params: KvmParameters): Promise<NodeUser | null> {
    if (params.use_chroot || params.security_model !== "none") checkIsRoot(params);
    switch (params.security_model) {
      case "none":
        return null;
      case "user":
        return userNamed(this.#runner, params.security_domain);
      case "pool":
        await this.#uids.check(guest.uidPool);
        return null;
    }
  }
}

function checkIsRoot(params: KvmParameters): void {
  if (process.geteuid?.() === 0) return;
  const asked = params.use_chroot ? "use_chroot" : `security_model ${params.security_model}`;
  throw new HypervisorError(`${asked}: only an agent that runs as root can confine guests so`);
}

/** @throws HypervisorError when qemu does not know it, or has no default and none is asked for */
function resolveMachine(qemu: QemuFacts, asked: string): string {
  if (asked === "") {
    if (qemu.defaultMachine !== undefined) return qemu.defaultMachine;
    throw new HypervisorError(`machine_version: ${qemu.path} has no default machine; set one`);
  }
  const machine = qemu.machines.get(asked);
  if (machine !== undefined) return machine;
  throw new HypervisorError(`machine_version: qemu ${qemu.version.text} (${qemu.path}) has no machine ${asked}`);
}

function checkIdentity(guest: GuestSpec): void {
  checkGuestName(guest.name);
  checkUuid(guest.uuid, `Instance ${guest.name}`);
  for (const disk of guest.disks) {
    checkUuid(disk.uuid, `Disk ${disk.index} of ${guest.name}`);
    if (!path.isAbsolute(disk.path))
      throw new HypervisorError(`Disk ${disk.index} of ${guest.name} has no absolute path`);
  }
  for (const nic of guest.nics) checkUuid(nic.uuid, `NIC ${nic.index} of ${guest.name}`);
}

/** Every parameter that names something on the node. */
async function checkPaths(guest: GuestSpec): Promise<void> {
  for (const [name, definition] of Object.entries(HYPERVISOR_PARAMETERS.kvm)) {
    const value = guest.hvparams[name];
    if (definition.onNode === undefined || typeof value !== "string" || value === "" || isImageUrl(value)) continue;
    const fault = await pathFault(value, definition.onNode);
    if (fault !== undefined) throw new HypervisorError(`Instance ${guest.name}: ${name} is ${value}, which ${fault}`);
  }
  const folder = guest.hvparams.vnc_bind_address;
  if (typeof folder !== "string" || !path.isAbsolute(folder)) return;
  const fault = await pathFault(folder, "directory");
  if (fault !== undefined)
    throw new HypervisorError(`Instance ${guest.name}: vnc_bind_address is ${folder}, which ${fault}`);
}

async function pathFault(target: string, kind: "file" | "directory"): Promise<string | undefined> {
  const found = await stat(target).catch(() => undefined);
  if (found === undefined) return "does not exist on this node";
  if (kind === "directory") return found.isDirectory() ? undefined : "is not a directory";
  if (!found.isFile()) return "is not a regular file";
  const readable = await access(target, constants.R_OK).then(
    () => true,
    () => false,
  );
  return readable ? undefined : "the agent may not read";
}

function checkDevice(qemu: QemuFacts, parameter: keyof KvmParameters, device: string): void {
  if (qemu.devices.has(device)) return;
  throw new HypervisorError(`${parameter}: qemu ${qemu.version.text} (${qemu.path}) has no device ${device}`);
}

async function isUsable(device: string): Promise<boolean> {
  return access(device, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
}

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
import { networkDevice } from "./argv/network-cards.ts";
import { qemuArgv } from "./argv.ts";
import { type KvmParameters, readKvmParameters } from "./kvm-parameters.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { checkNics } from "./nic/connections.ts";
import { QemuBinaries, type QemuFacts } from "./qemu-binary.ts";
import { type RuntimeFolders, runtimePaths } from "./runtime-paths.ts";
import { vncListener } from "./vnc-listener.ts";

const VHOST_NET = "/dev/vhost-net";

export class LaunchPlanner {
  readonly #folders: RuntimeFolders;
  readonly #acceleration: AccelerationProbe;
  readonly binaries: QemuBinaries;

  constructor(parts: { folders: RuntimeFolders; acceleration: AccelerationProbe; runner: CommandRunner }) {
    this.#folders = parts.folders;
    this.#acceleration = parts.acceleration;
    this.binaries = new QemuBinaries(parts.runner);
  }

  /**
   * @param machine the type the guest had before; the one its parameters ask for when undefined
   * @throws HypervisorError naming the parameter, disk or NIC that this node cannot serve
   */
  async plan(guest: GuestSpec, machine: string | undefined): Promise<LaunchPlan> {
    checkIdentity(guest);
    const params = readKvmParameters(guest);
    await checkPaths(guest);
    await checkNics(guest);
    const qemu = await this.binaries.facts(params.kvm_path);
    const accelerator = chooseAccelerator(params.kvm_flag, await this.#acceleration.verdict(qemu));
    const plan: LaunchPlan = {
      guest,
      params,
      machine: resolveMachine(qemu, machine ?? params.machine_version),
      accelerator,
      paths: runtimePaths(this.#folders, guest.name),
      vnc: vncListener(guest, params),
      vhostNet: accelerator === "kvm" && (await isUsable(VHOST_NET)),
    };
    if (guest.nics.length > 0) checkDevice(qemu, "nic_type", networkDevice(plan));
    // Building finds what only shows when everything is put together, such as a full bus.
    qemuArgv(plan);
    return plan;
  }
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

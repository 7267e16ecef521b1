/** Connecting a guest's NICs to the node's networks before qemu starts, and taking that back. */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { isInterfaceName, normalizeMac } from "@gannet/objects";
import { isBridge, makeTap, removeTap, tapObstacle } from "./tap.ts";
import { isTapName, tapName } from "./tap-name.ts";

/**
 * Whether this node can connect the guest's NICs.
 * @throws HypervisorError naming the NIC and what is missing
 */
export async function checkNics(guest: GuestSpec): Promise<void> {
  for (const nic of guest.nics) {
    const fault = macFault(nic.mac) ?? (await MODE_FAULTS[nic.mode](nic));
    if (fault !== undefined) throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: ${fault}`);
  }
}

/**
 * Each interface is noted in the folder before it is made: a file called by the NIC's index that holds the
 * interface's name. Firewalls and monitoring may read it too.
 * @throws HypervisorError; nothing stays connected then
 */
export async function connectNics(
  runner: CommandRunner,
  guest: GuestSpec,
  folder: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (const nic of guest.nics.filter(hasTap)) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeFile(path.join(folder, String(nic.index)), `${tapName(nic.uuid)}\n`, { mode: 0o600 });
      await makeTap(runner, nic, signal);
    }
  } catch (error) {
    await disconnectNics(runner, folder);
    throw error;
  }
}

/**
 * Remove every interface noted in the folder, and the folder. Succeeds when there is none.
 * @throws HypervisorError when an interface stays
 */
export async function disconnectNics(runner: CommandRunner, folder: string): Promise<void> {
  for (const note of await readdir(folder).catch(() => [])) {
    const name = (await readFile(path.join(folder, note), "utf8")).trim();
    if (isTapName(name)) await removeTap(runner, name);
  }
  await rm(folder, { recursive: true, force: true });
}

function hasTap(nic: GuestNic): boolean {
  return nic.mode === "bridged";
}

function macFault(mac: string): string | undefined {
  try {
    return normalizeMac(mac) === mac ? undefined : `MAC address ${mac} is not in lower case`;
  } catch (error) {
    if (error instanceof GannetError) return error.message;
    throw error;
  }
}

/** What keeps this node from connecting a NIC of each mode. */
const MODE_FAULTS: Readonly<Record<GuestNic["mode"], (nic: GuestNic) => Promise<string | undefined>>> = {
  user: async () => undefined,
  bridged: bridgedFault,
  routed: async () => "mode routed is not supported by the kvm hypervisor yet",
  openvswitch: async () => "mode openvswitch is not supported by the kvm hypervisor yet",
};

async function bridgedFault({ link, vlan }: GuestNic): Promise<string | undefined> {
  if (vlan !== "") return "a vlan on a bridge is not supported by the kvm hypervisor yet";
  if (!isInterfaceName(link)) return `link ${JSON.stringify(link)} is not the name of an interface`;
  if (!(await isBridge(link))) return `link ${link} is not a bridge of this node`;
  const obstacle = await tapObstacle();
  return obstacle === undefined ? undefined : `it cannot be connected to ${link}: ${obstacle}`;
}

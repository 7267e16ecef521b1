/** Launch plans for tests of the command line. */
import type { GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import { HYPERVISOR_DEFAULTS, type Parameters } from "@gannet/objects";
import { readKvmParameters } from "../../../src/hypervisors/kvm/kvm-parameters.ts";
import type { LaunchPlan } from "../../../src/hypervisors/kvm/launch-plan.ts";
import { runtimeFolders, runtimePaths } from "../../../src/hypervisors/kvm/runtime-paths.ts";

export const DISK: GuestDisk = {
  uuid: "d15c0000-1111-2222-3333-444444444444",
  index: 0,
  name: null,
  path: "/srv/disk,0",
  kind: "file",
  format: "raw",
  access: "rw",
  sizeMib: 1,
};
export const DISK_ID = "disk-d15c0000-1111-2222";

export const NIC: GuestNic = {
  uuid: "a1c00000-1111-2222-3333-444444444444",
  index: 0,
  name: null,
  mac: "aa:00:00:12:34:56",
  ip: null,
  mode: "bridged",
  link: "br0",
  vlan: "",
};
export const NIC_ID = "nic-a1c00000-1111-2222";
export const TAP = "gnta1c000001111";

export interface PlanChanges {
  readonly params?: Parameters;
  readonly guest?: Partial<GuestSpec>;
  readonly plan?: Partial<LaunchPlan>;
}

/** A guest web1 with the default parameters, on a pc machine under TCG, except for the changes. */
export function planOf({ params = {}, guest: guestChanges = {}, plan = {} }: PlanChanges): LaunchPlan {
  const guest: GuestSpec = {
    name: "web1.example",
    uuid: "11111111-2222-3333-4444-555555555555",
    hypervisor: "kvm",
    maxMemoryMib: 512,
    startMemoryMib: 512,
    vcpus: 2,
    disks: [],
    nics: [],
    networkPort: null,
    hvparams: { ...HYPERVISOR_DEFAULTS.kvm, ...params },
    ...guestChanges,
  };
  return {
    guest,
    params: readKvmParameters(guest),
    machine: "pc-i440fx-7.2",
    accelerator: "tcg",
    paths: runtimePaths(runtimeFolders("/var/lib/gannet", "/run/gannet"), guest.name),
    vnc: null,
    spice: null,
    pinning: { kind: "none" },
    firmware: null,
    tpm: null,
    runAs: null,
    chroot: null,
    runWith: false,
    vhostNet: false,
    places: {},
    incoming: false,
    ...plan,
  };
}

/** What differs between the families of machines: buses and which of their slots are free. */
import { HypervisorError } from "@gannet/errors";

export interface MachineFamily {
  readonly pciBus: string;
  /** Slots of the root bus that devices given here may take, both ends included. */
  readonly firstFreeSlot: number;
  readonly lastFreeSlot: number;
  /** How many disks its IDE or AHCI controller takes, and where each goes. */
  readonly ideDisks: number;
  readonly ideBus: (index: number) => { readonly bus: string; readonly unit: number };
  readonly hasFloppyController: boolean;
  /** Whether devices can come to and go from the root bus while the guest runs. */
  readonly hotplugsPci: boolean;
}

/** 440FX: host bridge, PIIX3 and the graphics card are in slots 0 to 2. Two IDE channels with two disks each. */
const PC: MachineFamily = {
  pciBus: "pci.0",
  firstFreeSlot: 3,
  lastFreeSlot: 31,
  ideDisks: 4,
  ideBus: (index) => ({ bus: `ide.${Math.floor(index / 2)}`, unit: index % 2 }),
  hasFloppyController: true,
  hotplugsPci: true,
};

/** Q35: ICH9 takes 29 (USB) to 31; graphics are in slot 1. Six AHCI ports. */
const Q35: MachineFamily = {
  pciBus: "pcie.0",
  firstFreeSlot: 2,
  lastFreeSlot: 28,
  ideDisks: 6,
  ideBus: (index) => ({ bus: `ide.${index}`, unit: 0 }),
  hasFloppyController: false,
  hotplugsPci: false,
};

const FAMILIES: readonly (readonly [pattern: RegExp, family: MachineFamily])[] = [
  [/^(pc|pc-i440fx-.+)$/, PC],
  [/^(q35|pc-q35-.+)$/, Q35],
];

/** @throws HypervisorError for machines without the PCI bus that guests' devices need (isapc, microvm) */
export function machineFamily(machine: string): MachineFamily {
  const family = FAMILIES.find(([pattern]) => pattern.test(machine))?.[1];
  if (family === undefined)
    throw new HypervisorError(`machine_version: ${machine} is not supported; use a pc or q35 type`);
  return family;
}

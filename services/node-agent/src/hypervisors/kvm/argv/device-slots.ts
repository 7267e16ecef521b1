/** Hands out the places where a guest's devices are plugged in, always in the same order. */
import { HypervisorError } from "@gannet/errors";
import type { MachineFamily } from "./machine-family.ts";

/** What a device on the root PCI bus says of its place. */
export interface PciPlace {
  readonly bus: string;
  readonly addr: string;
}

export class DeviceSlots {
  readonly #family: MachineFamily;
  #nextPciSlot: number;
  #nextIde = 0;
  #nextScsi = 0;

  /** @param reserved slots from 0 on that stay free for devices qemu places itself (`kvm_pci_reservations`) */
  constructor(family: MachineFamily, reserved: number) {
    this.#family = family;
    this.#nextPciSlot = Math.max(family.firstFreeSlot, reserved);
  }

  /** @throws HypervisorError when all are taken */
  pci(): PciPlace {
    const slot = this.#nextPciSlot++;
    if (slot > this.#family.lastFreeSlot) {
      throw new HypervisorError("The guest has more devices than PCI slots; lower kvm_pci_reservations");
    }
    return { bus: this.#family.pciBus, addr: `0x${slot.toString(16)}` };
  }

  /** @throws HypervisorError when all are taken */
  ide(): { readonly bus: string; readonly unit: number } {
    const index = this.#nextIde++;
    if (index >= this.#family.ideDisks) {
      throw new HypervisorError(`The machine takes ${this.#family.ideDisks} IDE drives, the guest has more`);
    }
    return this.#family.ideBus(index);
  }

  /** On the one controller that the guest has. The `lsi` controller itself is number 7 of its bus. */
  scsi(): { readonly bus: string; readonly "scsi-id": number } {
    const id = this.#nextScsi++;
    return { bus: "scsi.0", "scsi-id": id < 7 ? id : id + 1 };
  }
}

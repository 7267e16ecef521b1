/** Hands out the places where a guest's devices are plugged in, always in the same order. */
import { HypervisorError } from "@gannet/errors";
import { z } from "zod";
import type { MachineFamily } from "./machine-family.ts";
import { SCSI_CONTROLLER_NUMBER, SCSI_CONTROLLERS, type ScsiController } from "./scsi-controllers.ts";

/** What a device says of its place on the root PCI bus, an IDE or a SCSI bus. */
const pciPlace = z.strictObject({ bus: z.string(), addr: z.string() });
const idePlace = z.strictObject({ bus: z.string(), unit: z.int() });
const scsiPlace = z.strictObject({ bus: z.string(), "scsi-id": z.int() });
export type PciPlace = z.output<typeof pciPlace>;
type IdePlace = z.output<typeof idePlace>;
type ScsiPlace = z.output<typeof scsiPlace>;
type DevicePlace = PciPlace | IdePlace | ScsiPlace;

/** Where each of a guest's devices is, by its id. */
export const devicePlaces = z.record(z.string(), z.union([pciPlace, idePlace, scsiPlace]));
export type DevicePlaces = Readonly<Record<string, DevicePlace>>;

/** What a guest's parameters say of its buses. */
export interface SlotParameters {
  /** Slots from 0 on that stay free for devices qemu places itself. */
  readonly kvm_pci_reservations: number;
  readonly scsi_controller_type: string;
}

export class DeviceSlots {
  readonly #family: MachineFamily;
  readonly #params: SlotParameters;
  readonly #kept: DevicePlaces;
  readonly #places: Record<string, DevicePlace> = {};

  /** @param kept places of a guest that has run already: a device that had one is given it again, and nobody else */
  constructor(family: MachineFamily, params: SlotParameters, kept: DevicePlaces = {}) {
    this.#family = family;
    this.#params = params;
    this.#kept = kept;
  }

  /** All that were handed out. */
  get places(): DevicePlaces {
    return this.#places;
  }

  /** Whether the guest had a device of this id before. */
  had(id: string): boolean {
    return this.#kept[id] !== undefined;
  }

  /** @throws HypervisorError when all are taken */
  pci(id: string): PciPlace {
    const { firstFreeSlot, lastFreeSlot, pciBus } = this.#family;
    const slots = range(Math.max(firstFreeSlot, this.#params.kvm_pci_reservations), lastFreeSlot);
    const places = slots.map((slot) => ({ bus: pciBus, addr: `0x${slot.toString(16)}` }));
    return this.#take(id, pciPlace, places, "The guest has more devices than PCI slots; lower kvm_pci_reservations");
  }

  /** @throws HypervisorError when all are taken */
  ide(id: string): IdePlace {
    const { ideDisks, ideBus } = this.#family;
    const places = range(0, ideDisks - 1).map(ideBus);
    return this.#take(id, idePlace, places, `The machine takes ${ideDisks} IDE drives, the guest has more`);
  }

  /** On the one controller that the guest has. @throws HypervisorError when all are taken, or there is no such one */
  scsi(id: string): ScsiPlace {
    const { scsi_controller_type: type } = this.#params;
    const controller = SCSI_CONTROLLERS[type];
    if (controller === undefined) throw new HypervisorError(`scsi_controller_type: ${type} is unknown`);
    const places = scsiNumbers(controller).map((number) => ({ bus: "scsi.0", "scsi-id": number }));
    return this.#take(
      id,
      scsiPlace,
      places,
      `The SCSI controller ${type} takes ${places.length} drives, the guest has more${largerThan(controller)}`,
    );
  }

  #take<Place extends DevicePlace>(id: string, form: z.ZodType<Place>, places: readonly Place[], full: string): Place {
    const before = form.safeParse(this.#kept[id]);
    const taken = new Set([...Object.values(this.#kept), ...Object.values(this.#places)].map(asText));
    const place = before.success ? before.data : places.find((each) => !taken.has(asText(each)));
    if (place === undefined) throw new HypervisorError(full);
    this.#places[id] = place;
    return place;
  }
}

function scsiNumbers({ lastId }: ScsiController): readonly number[] {
  return range(0, lastId).filter((number) => number !== SCSI_CONTROLLER_NUMBER);
}

function largerThan({ lastId }: ScsiController): string {
  const larger = Object.entries(SCSI_CONTROLLERS).filter(([, each]) => each.lastId > lastId);
  const told = larger.map(([type, each]) => `${type} takes ${scsiNumbers(each).length}`);
  return told.length === 0 ? "" : `; ${told.join(", ")}`;
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, offset) => first + offset);
}

function asText(place: DevicePlace): string {
  return Object.values(place).join("/");
}

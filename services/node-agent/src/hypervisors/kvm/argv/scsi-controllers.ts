/** The SCSI controllers that a guest can have, by Ganeti's names. */

export interface ScsiController {
  readonly driver: string;
  /** Highest number of a drive on its bus that qemu takes (measured with 7.2), or as many as guests look for. */
  readonly lastId: number;
}

/** What the one controller of a guest is called in qemu and among the places. */
export const SCSI_CONTROLLER = "scsi";
/** The number that the controllers of the parallel bus have themselves. No drive is given it on the others either. */
export const SCSI_CONTROLLER_NUMBER = 7;

export const SCSI_CONTROLLERS: Readonly<Record<string, ScsiController>> = {
  lsi: { driver: "lsi53c895a", lastId: 7 },
  dc390: { driver: "dc390", lastId: 7 },
  megasas: { driver: "megasas", lastId: 31 },
  "virtio-scsi-pci": { driver: "virtio-scsi-pci", lastId: 31 },
};

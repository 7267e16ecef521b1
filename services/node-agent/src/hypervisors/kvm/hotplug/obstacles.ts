/** What keeps a kind of device from coming to a guest while it runs, or from going. */
import type { HotplugDevice } from "@gannet/driver-contract";
import { machineFamily } from "../argv/machine-family.ts";
import { SCSI_CONTROLLER } from "../argv/scsi-controllers.ts";
import { isConfined } from "../isolation/confined.ts";
import { type KvmParameters, readKvmParameters } from "../kvm-parameters.ts";
import { CAN_PASS_DESCRIPTORS } from "../qmp/descriptor-socket.ts";
import type { RuntimeRecord } from "../runtime-record.ts";

/** The one model of card that is no PCI device. */
const ISA_MODEL = "ne2k_isa";
/** The others do not tell the guest that a disk has come, and take it away without asking. */
const HOTPLUG_CONTROLLER = "virtio-scsi-pci";

/** In words that follow the guest's name; undefined when nothing does. */
export function hotplugObstacle(
  record: Pick<RuntimeRecord, "guest" | "machine" | "places">,
  kind: HotplugDevice["kind"],
): string | undefined {
  const params = readKvmParameters(record.guest);
  const busObstacle = machineFamily(record.machine).hotplugsPci
    ? undefined
    : `has the machine ${record.machine}, whose bus takes no devices while it runs; a pc type does`;
  if (kind === "nic") return nicObstacle(params, busObstacle);
  if (isConfined(record.guest) && !CAN_PASS_DESCRIPTORS)
    return "runs as another user or in a chroot, and the agent's Node cannot hand its qemu the disks that it may not open";
  return diskObstacle(params, busObstacle, SCSI_CONTROLLER in record.places);
}

function nicObstacle({ nic_type, use_chroot }: KvmParameters, busObstacle: string | undefined): string | undefined {
  if (use_chroot) return "runs in a chroot, where its qemu finds no networks";
  if (nic_type === ISA_MODEL) return `has network cards of type ${nic_type}, which do not come or go while it runs`;
  return busObstacle;
}

function diskObstacle(
  { disk_type, scsi_controller_type }: KvmParameters,
  busObstacle: string | undefined,
  hasController: boolean,
): string | undefined {
  if (disk_type === "paravirtual") return busObstacle;
  if (!disk_type.startsWith("scsi"))
    return `has disks of type ${disk_type}, which do not come or go while it runs; paravirtual and scsi-hd do`;
  if (scsi_controller_type !== HOTPLUG_CONTROLLER)
    return `has the SCSI controller ${scsi_controller_type}, whose disks do not come or go while it runs; ${HOTPLUG_CONTROLLER} is one where they do`;
  return hasController ? undefined : busObstacle;
}

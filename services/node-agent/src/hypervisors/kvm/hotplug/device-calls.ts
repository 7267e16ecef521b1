/** What qemu is told to add a device while it runs: the same as on its command line, said over QMP. */
import type { HotplugDevice } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { deviceId } from "../argv/argument.ts";
import { diskArgv, scsiControllerArgv } from "../argv/drives.ts";
import { networkArgv } from "../argv/network-cards.ts";
import { SCSI_CONTROLLER } from "../argv/scsi-controllers.ts";
import { deviceSlots } from "../argv.ts";
import type { LaunchPlan } from "../launch-plan.ts";

type Description = Readonly<Record<string, unknown>>;

export interface DeviceCalls {
  readonly id: string;
  /** For `blockdev-add` or `netdev_add`: what is behind the device on the node. */
  readonly backend: Description;
  /** For `device_add`. */
  readonly device: Description;
  /** For `device_add` before that, where the guest has none yet. */
  readonly controller: (Description & { readonly id: string }) | undefined;
}

export function hotplugId(device: HotplugDevice): string {
  return device.kind === "disk" ? deviceId("disk", device.disk.uuid) : deviceId("nic", device.nic.uuid);
}

/**
 * @param plan the guest as it will be, with the device; its places are those that the devices have or will have
 * @throws HypervisorError as the command line's builder
 */
export function deviceCalls(plan: LaunchPlan, device: HotplugDevice): DeviceCalls {
  const slots = deviceSlots(plan);
  const alone = { disks: device.kind === "disk" ? [device.disk] : [], nics: device.kind === "nic" ? [device.nic] : [] };
  const planAlone: LaunchPlan = { ...plan, guest: { ...plan.guest, ...alone } };
  const argv = device.kind === "disk" ? diskArgv(planAlone, slots) : networkArgv(planAlone, slots);
  const controller =
    device.kind === "disk" && usesScsi(argv) ? optionsOf(scsiControllerArgv(planAlone, slots))[0] : undefined;
  const [backend, front] = optionsOf(argv);
  if (backend === undefined || front === undefined) throw new HypervisorError(`A ${device.kind} cannot be built`);
  // The order of booting was settled at the start.
  const { bootindex: _, ...rest } = front;
  return {
    id: hotplugId(device),
    backend,
    device: rest,
    controller: controller === undefined ? undefined : { ...controller, id: SCSI_CONTROLLER },
  };
}

/** The values of `-option {…}` pairs. */
function optionsOf(argv: readonly string[]): readonly Description[] {
  return argv.filter((argument) => argument.startsWith("{")).map((argument) => JSON.parse(argument));
}

function usesScsi(argv: readonly string[]): boolean {
  return optionsOf(argv).some((options) => "scsi-id" in options);
}

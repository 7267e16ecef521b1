/** The command line of a guest's qemu. Pure: the same plan gives the same arguments. */

import { json } from "./argv/argument.ts";
import { monitorArgv, screenArgv, serialArgv } from "./argv/consoles.ts";
import { DeviceSlots } from "./argv/device-slots.ts";
import { cdromArgv, diskArgv, floppyArgv, scsiControllerArgv } from "./argv/drives.ts";
import { kernelArgv, machineArgv } from "./argv/machine.ts";
import { machineFamily } from "./argv/machine-family.ts";
import { networkArgv } from "./argv/network-cards.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { splitQuotedWords } from "./quoted-words.ts";

/**
 * Devices take their slots in this order, so a guest that keeps its devices keeps their places.
 * @throws HypervisorError when the parameters ask for what cannot be built; the message names the parameter
 */
export function qemuArgv(plan: LaunchPlan): readonly [program: string, ...args: string[]] {
  const { params, paths } = plan;
  const family = machineFamily(plan.machine);
  const slots = new DeviceSlots(family, params.kvm_pci_reservations);
  return [
    params.kvm_path,
    ...["-nodefaults", "-no-user-config"],
    ...machineArgv(plan),
    // Guests start stopped: what can only be set in a running qemu is set before their first instruction.
    ...["-S", "-daemonize", "-pidfile", paths.pidFile, "-D", paths.logFile],
    ...kernelArgv(plan),
    ...monitorArgv(plan),
    ...serialArgv(plan),
    ...screenArgv(plan),
    ...scsiControllerArgv(plan, slots),
    ...["-device", json({ driver: "virtio-balloon-pci", id: "balloon", ...slots.pci() })],
    ...networkArgv(plan, slots),
    ...diskArgv(plan, slots),
    ...cdromArgv(plan, slots),
    ...floppyArgv(plan, family),
    ...splitQuotedWords(params.kvm_extra),
  ];
}

/** The command line of a guest's qemu. Pure: the same plan gives the same arguments. */
import { json } from "./argv/argument.ts";
import { confinementArgv } from "./argv/confinement.ts";
import { monitorArgv, screenArgv, serialArgv } from "./argv/consoles.ts";
import { type DevicePlaces, DeviceSlots } from "./argv/device-slots.ts";
import { cdromArgv, diskArgv, floppyArgv, scsiControllerArgv } from "./argv/drives.ts";
import { firmwareArgv, tpmArgv } from "./argv/firmware.ts";
import { kernelArgv, machineArgv } from "./argv/machine.ts";
import { machineFamily } from "./argv/machine-family.ts";
import { networkArgv } from "./argv/network-cards.ts";
import { agentPortsArgv, usbArgv } from "./argv/peripherals.ts";
import { soundArgv } from "./argv/sound.ts";
import type { LaunchPlan } from "./launch-plan.ts";
import { splitQuotedWords } from "./quoted-words.ts";

/** @throws HypervisorError when the parameters ask for what cannot be built; the message names the parameter */
export function qemuArgv(plan: LaunchPlan): readonly [program: string, ...args: string[]] {
  return qemuCommand(plan, deviceSlots(plan));
}

/** Where the command line puts each device. @throws HypervisorError as {@link qemuArgv} */
export function placesOf(plan: LaunchPlan): DevicePlaces {
  const slots = deviceSlots(plan);
  qemuCommand(plan, slots);
  return slots.places;
}

/** The slots of a guest's machine; places that the plan holds stay with their devices. */
export function deviceSlots({ machine, params, places }: LaunchPlan): DeviceSlots {
  return new DeviceSlots(machineFamily(machine), params, places);
}

/** Devices take their slots in this order, so a guest that keeps its devices keeps their places. */
function qemuCommand(plan: LaunchPlan, slots: DeviceSlots): readonly [program: string, ...args: string[]] {
  const { params, paths } = plan;
  const family = machineFamily(plan.machine);
  return [
    params.kvm_path,
    ...["-nodefaults", "-no-user-config"],
    ...machineArgv(plan),
    // Guests start stopped: what can only be set in a running qemu is set before their first instruction.
    ...["-S", "-daemonize", "-pidfile", paths.pidFile, "-D", paths.logFile],
    // Where it listens is told over QMP, after the certificates it listens with.
    ...(plan.incoming ? ["-incoming", "defer"] : []),
    ...firmwareArgv(plan),
    ...kernelArgv(plan),
    ...monitorArgv(plan),
    ...serialArgv(plan),
    ...screenArgv(plan),
    ...usbArgv(plan),
    ...scsiControllerArgv(plan, slots),
    ...["-device", json({ driver: "virtio-balloon-pci", id: "balloon", ...slots.pci("balloon") })],
    ...soundArgv(plan, slots),
    ...agentPortsArgv(plan, slots),
    ...tpmArgv(plan),
    ...networkArgv(plan, slots),
    ...diskArgv(plan, slots),
    ...cdromArgv(plan, slots),
    ...floppyArgv(plan, family),
    ...confinementArgv(plan),
    ...splitQuotedWords(params.kvm_extra),
  ];
}

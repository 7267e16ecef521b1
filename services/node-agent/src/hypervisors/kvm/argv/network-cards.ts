/** Network cards and what they are connected to on the node. */
import type { GuestNic } from "@gannet/driver-contract";
import type { LaunchPlan } from "../launch-plan.ts";
import { tapName } from "../nic/tap-name.ts";
import { deviceId, json } from "./argument.ts";
import { bootIndex } from "./boot-order.ts";
import type { DeviceSlots } from "./device-slots.ts";

const PARAVIRTUAL = "virtio-net-pci";
/** The one model that is no PCI device. */
const ISA_MODEL = "ne2k_isa";

export function networkArgv(plan: LaunchPlan, slots: DeviceSlots): readonly string[] {
  // Without this qemu adds a card of its own.
  if (plan.guest.nics.length === 0) return ["-nic", "none"];
  return plan.guest.nics.flatMap((nic, position) => {
    const id = deviceId("nic", nic.uuid);
    const driver = networkDevice(plan);
    const device = {
      driver,
      id,
      ...(driver === ISA_MODEL ? {} : slots.pci()),
      netdev: id,
      mac: nic.mac,
      ...(position === 0 && driver !== ISA_MODEL ? bootIndex(plan, "network") : {}),
    };
    return ["-netdev", backend(plan, nic, id), "-device", json(device)];
  });
}

export function networkDevice({ params }: LaunchPlan): string {
  return params.nic_type === "paravirtual" ? PARAVIRTUAL : params.nic_type;
}

/** Taps exist before qemu starts (nic/tap.ts), so qemu runs no script. */
function backend(plan: LaunchPlan, nic: GuestNic, id: string): string {
  if (nic.mode === "user") return `user,id=${id}`;
  const vhost = plan.vhostNet && plan.params.vhost_net && networkDevice(plan) === PARAVIRTUAL;
  return `tap,id=${id},ifname=${tapName(nic.uuid)},script=no,downscript=no${vhost ? ",vhost=on" : ""}`;
}

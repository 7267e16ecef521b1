/** Network cards and what they are connected to on the node. */
import type { GuestNic } from "@gannet/driver-contract";
import type { LaunchPlan } from "../launch-plan.ts";
import type { TapShape } from "../nic/tap.ts";
import { tapName } from "../nic/tap-name.ts";
import { deviceId, json } from "./argument.ts";
import { bootIndex } from "./boot-order.ts";
import type { DeviceSlots } from "./device-slots.ts";

const PARAVIRTUAL = "virtio-net-pci";
/** The one model that is no PCI device. */
const ISA_MODEL = "ne2k_isa";

type CardPlan = Pick<LaunchPlan, "params" | "vhostNet" | "runAs">;

export function networkArgv(plan: LaunchPlan, slots: DeviceSlots): readonly string[] {
  // Without this qemu adds a card of its own.
  if (plan.guest.nics.length === 0) return ["-nic", "none"];
  return plan.guest.nics.flatMap((nic, position) => {
    const id = deviceId("nic", nic.uuid);
    const driver = networkDevice(plan);
    const device = {
      driver,
      id,
      ...(driver === ISA_MODEL ? {} : slots.pci(id)),
      netdev: id,
      mac: nic.mac,
      ...queueProperties(plan),
      ...(position === 0 && driver !== ISA_MODEL ? bootIndex(plan, "network") : {}),
    };
    return ["-netdev", json(networkBackend(plan, nic)), "-device", json(device)];
  });
}

export function networkDevice({ params }: Pick<LaunchPlan, "params">): string {
  return params.nic_type === "paravirtual" ? PARAVIRTUAL : params.nic_type;
}

/** How the taps of this guest's NICs must be made. */
export function tapShape(plan: CardPlan): TapShape {
  return { queues: queuesOf(plan), ...(plan.runAs === null ? {} : { ownerUid: plan.runAs.uid }) };
}

/** Of a card with several queues: an interrupt for each direction of each, one for control, one for changes. */
export function queueProperties(plan: CardPlan): { readonly mq?: boolean; readonly vectors?: number } {
  const queues = queuesOf(plan);
  return queues > 1 ? { mq: true, vectors: 2 * queues + 2 } : {};
}

/** What `-netdev` and `netdev_add` are told. Taps exist before (nic/tap.ts), so qemu runs no script. */
export function networkBackend(plan: CardPlan, nic: GuestNic): Readonly<Record<string, unknown>> {
  const id = deviceId("nic", nic.uuid);
  if (nic.mode === "user") return { type: "user", id };
  const { params, vhostNet } = plan;
  const queues = queuesOf(plan);
  const paravirtual = networkDevice(plan) === PARAVIRTUAL;
  return {
    type: "tap",
    id,
    ifname: tapName(nic.uuid),
    script: "no",
    downscript: "no",
    ...(paravirtual && !params.vnet_hdr ? { vnet_hdr: false } : {}),
    ...(paravirtual && params.vhost_net && vhostNet ? { vhost: true } : {}),
    ...(queues > 1 ? { queues } : {}),
  };
}

function queuesOf({ params }: CardPlan): number {
  return networkDevice({ params }) === PARAVIRTUAL ? params.virtio_net_queues : 1;
}

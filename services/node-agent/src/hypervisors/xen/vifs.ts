/** How a guest's network cards are described to Xen (spec/node-ops.json, `hv.xen.cfg.vif`; xl-network-configuration(5)). */
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { isInterfaceName, normalizeMac } from "@gannet/objects";
import { parseVlan } from "../../nics/vlan.ts";
import { listPart } from "./config-value.ts";
import type { HvmParameters, XenParameters } from "./xen-parameters.ts";

/** Xen's own script for each mode where the site names none; a mode without one needs the site's (`vif_script`). */
const XEN_SCRIPTS: Readonly<Partial<Record<GuestNic["mode"], string>>> = {
  bridged: "vif-bridge",
  openvswitch: "vif-openvswitch",
};

/** @throws HypervisorError naming the card and what cannot be done with it */
export function vifEntries(guest: GuestSpec, params: XenParameters): readonly string[] {
  return guest.nics.map((nic) => {
    const problem = problemOf(nic, params);
    if (problem !== undefined) throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: ${problem}`);
    return [
      `mac=${nic.mac}`,
      ...(nic.ip === null ? [] : [`ip=${listPart("ip", nic.ip)}`]),
      ...link(nic),
      `script=${listPart("vif_script", params.vif_script || (XEN_SCRIPTS[nic.mode] ?? ""))}`,
      ...(params.hypervisor === "xen-hvm" ? model(params) : []),
    ].join(",");
  });
}

/** Xen's script for Open vSwitch reads the VLANs behind the switch's name. */
function link(nic: GuestNic): readonly string[] {
  if (nic.mode === "bridged") return [`bridge=${nic.link}`];
  if (nic.mode !== "openvswitch") return [];
  return [`bridge=${nic.link}${/^\d/.test(nic.vlan) ? "." : ""}${nic.vlan}`];
}

function model({ nic_type, vif_type }: HvmParameters): readonly string[] {
  return nic_type === "paravirtual" ? ["type=vif"] : [`model=${nic_type}`, `type=${vif_type || "ioemu"}`];
}

function problemOf(nic: GuestNic, params: XenParameters): string | undefined {
  try {
    if (normalizeMac(nic.mac) !== nic.mac) return `MAC address ${nic.mac} is not in lower case`;
    parseVlan(nic.vlan);
  } catch (error) {
    if (error instanceof GannetError) return error.message;
    throw error;
  }
  if (params.vif_script === "" && XEN_SCRIPTS[nic.mode] === undefined)
    return `mode ${nic.mode} needs a script of the site's own, in vif_script`;
  if (nic.mode === "bridged" && nic.vlan !== "" && params.vif_script === "")
    return "a vlan on a bridge needs a script of the site's own, in vif_script";
  if ((nic.mode === "bridged" || nic.mode === "openvswitch") && !isInterfaceName(nic.link))
    return `link ${JSON.stringify(nic.link)} is not the name of an interface`;
  return undefined;
}

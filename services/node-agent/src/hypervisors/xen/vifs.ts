/** How a guest's network cards are described to Xen (spec/node-ops.json, `hv.xen.cfg.vif`; xl-network-configuration(5)). */
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { isCommunicationNic, isInterfaceName, normalizeMac } from "@gannet/objects";
import { parseVlan } from "../../nics/vlan.ts";
import { routedFault } from "../kvm/nic/modes.ts";
import { listPart } from "./config-value.ts";
import type { HvmParameters, XenParameters } from "./xen-parameters.ts";

/** Which scripts this node has; undefined for one that is not there. */
export interface VifScripts {
  /** Gannet's own, for what Xen's cannot do. */
  readonly own: string | undefined;
  /** It takes the place of Xen's and of Gannet's. */
  readonly site: string | undefined;
}

/** @throws HypervisorError naming the card and what cannot be done with it */
export function vifEntries(guest: GuestSpec, params: XenParameters, scripts: VifScripts): readonly string[] {
  return guest.nics.map((nic) => {
    const refuse = (problem: string): never => {
      throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: ${problem}`);
    };
    const choice = scriptOf(nic, params, scripts);
    const problem = problemOf(nic, choice);
    if (problem !== undefined) refuse(problem);
    const isPlain = !isCommunicationNic(nic);
    return [
      `mac=${nic.mac}`,
      ...(nic.ip === null || !isPlain ? [] : [`ip=${listPart("ip", nic.ip)}`]),
      ...(isPlain ? link(nic) : []),
      ...(choice.script === undefined ? [] : [`script=${listPart("vif_script", choice.script)}`]),
      ...(params.hypervisor === "xen-hvm" ? model(params) : []),
    ].join(",");
  });
}

interface ScriptChoice {
  /** Whose it is; `none` is for a card that nothing can connect. */
  readonly whose: "site" | "gannet" | "xen" | "none";
  /** Undefined for Xen's default, which the site may have changed (xl.conf(5), `vif.default.script`). */
  readonly script: string | undefined;
}

/** A card by which a guest talks to its node alone is never the site's. */
function scriptOf(nic: GuestNic, { vif_script }: XenParameters, { own, site }: VifScripts): ScriptChoice {
  if (isCommunicationNic(nic)) return { whose: "gannet", script: own };
  if (vif_script !== "") return { whose: "site", script: vif_script };
  if (site !== undefined) return { whose: "site", script: site };
  switch (nic.mode) {
    case "routed":
      return { whose: "gannet", script: own };
    case "bridged":
      return nic.vlan === "" ? { whose: "xen", script: undefined } : { whose: "gannet", script: own };
    case "openvswitch":
      return { whose: "xen", script: "vif-openvswitch" };
    default:
      return { whose: "none", script: undefined };
  }
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

function problemOf(nic: GuestNic, { whose, script }: ScriptChoice): string | undefined {
  try {
    if (normalizeMac(nic.mac) !== nic.mac) return `MAC address ${nic.mac} is not in lower case`;
    parseVlan(nic.vlan);
  } catch (error) {
    if (error instanceof GannetError) return error.message;
    throw error;
  }
  if (whose === "none") return `mode ${nic.mode} needs a script of the site's own, in vif_script`;
  if (whose === "gannet" && script === undefined)
    return "it needs Gannet's vif-gannet, which this node does not have (xen.vifScript in its configuration)";
  if (whose === "gannet" && nic.mode === "routed") return routedFault(nic);
  if ((nic.mode === "bridged" || nic.mode === "openvswitch") && !isInterfaceName(nic.link))
    return `link ${JSON.stringify(nic.link)} is not the name of an interface`;
  return undefined;
}

/** What makes a NIC's parameters acceptable (spec/config.json, `nicparams`, `nic_special`). */
import type { Parameters } from "./model.ts";
import type { NicMode } from "./names.ts";
import { isInterfaceName } from "./parameter-syntax.ts";
import { parameterProblems, refuseProblems } from "./parameter-table.ts";
import { NIC_PARAMETERS } from "./parameter-tables.ts";

/** An instance has no more NICs than this (spec/config.json, `nic_special.max`). */
export const MAX_NICS = 8;

/** What the name of the NIC by which a guest talks to its node alone begins with: Ganeti's, which other programs know. */
export const COMMUNICATION_NIC_PREFIX = "gnt:com:";

export function isCommunicationNic({ name }: { readonly name?: string | null | undefined }): boolean {
  return name?.startsWith(COMMUNICATION_NIC_PREFIX) === true;
}

/** Where guests ask for their metadata, which is of no guest (spec/os-iallocator-hooks.json, `metadata_daemon`). */
export const METADATA_ADDRESS = "169.254.169.254";

/** A routing table's number, or its name in /etc/iproute2/rt_tables. */
const ROUTING_TABLE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$/;
/** `.10` untagged, `:10:20` tagged, `.10:20` both; a plain number counts as `.10`. */
const VLANS = /^(?:\.?\d{1,4})?(?::\d{1,4})*$/;

interface ModeRule {
  /** Null: any link, none included. */
  readonly link: { readonly accepts: (link: string) => boolean; readonly wanted: string } | null;
  readonly needsIp: boolean;
}

const INTERFACE = { accepts: isInterfaceName, wanted: "the name of a network interface on the node" };

const MODE_RULES: Readonly<Record<Exclude<NicMode, "pool">, ModeRule>> = {
  bridged: { link: INTERFACE, needsIp: false },
  openvswitch: { link: INTERFACE, needsIp: false },
  routed: {
    link: { accepts: (link) => link === "" || ROUTING_TABLE.test(link), wanted: "a routing table, or empty" },
    needsIp: true,
  },
  ext: { link: null, needsIp: false },
};

/**
 * Check the complete parameters of a NIC.
 * @param ip - the NIC's address, or null; a NIC whose address comes from a network's pool has one by now
 * @throws OpPrereqError `wrong_input` that lists every problem
 */
export function checkNicParameters(filled: Parameters, ip: string | null): void {
  const mode = String(filled.mode);
  const link = String(filled.link ?? "");
  const rule = Object.hasOwn(MODE_RULES, mode) ? MODE_RULES[mode as keyof typeof MODE_RULES] : undefined;
  refuseProblems([
    ...parameterProblems("NIC parameter", NIC_PARAMETERS, filled),
    ...(rule?.link && !rule.link.accepts(link)
      ? [`NIC parameter 'link' is ${JSON.stringify(link)}; in mode ${mode} it must be ${rule.link.wanted}`]
      : []),
    ...(rule?.needsIp && ip === null ? [`A NIC in mode ${mode} needs an IP address`] : []),
    ...(VLANS.test(String(filled.vlan ?? ""))
      ? []
      : [`NIC parameter 'vlan' is '${filled.vlan}'; it must be like .10:20`]),
  ]);
}

/**
 * What connecting a tap means in each mode (spec/node-ops.json, `nic`). Commands are built here and run elsewhere; a
 * site's script takes their place.
 */
import { access, readFile } from "node:fs/promises";
import type { GuestNic } from "@gannet/driver-contract";
import { CommandError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { isCommunicationNic, isInterfaceName, isIpv4, isIpv6 } from "@gannet/objects";
import type { NetworkTools } from "../../../nics/network-tools.ts";
import { parseVlan } from "../../../nics/vlan.ts";

type Argv = readonly [program: string, ...args: string[]];

/** What is done on the node for one NIC. */
export interface Steps {
  readonly commands: readonly Argv[];
  /** Kernel settings, by their files. */
  readonly settings: readonly string[];
}

export interface BridgeFacts {
  readonly mtu: string;
  /** The VLAN of a new port's untagged packets; 0 for none. */
  readonly defaultVlan: number;
}

const TIMEOUT_MS = 10_000;
/** A name from /etc/iproute2/rt_tables, or a number. */
const ROUTING_TABLE = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,30}$/;

/**
 * A bridge takes the lowest address of its ports for its own and would change it with every guest; one that begins
 * with fe is never the lowest. A port that has VLANs of its own is in no other one.
 */
export function bridgedSteps(tools: NetworkTools, nic: GuestNic, tap: string, facts: BridgeFacts): Steps {
  const address = `fe${nic.mac.slice(2)}`;
  const join: Argv = [
    tools.ip,
    ...["link", "set", "dev", tap, "address", address, "mtu", facts.mtu, "master", nic.link, "up"],
  ];
  return { commands: [join, ...bridgeVlanCommands(tools, nic, tap, facts)], settings: [] };
}

function bridgeVlanCommands(tools: NetworkTools, nic: GuestNic, tap: string, facts: BridgeFacts): readonly Argv[] {
  if (nic.vlan === "") return [];
  const { untagged, tagged } = parseVlan(nic.vlan);
  const vlan = (action: "add" | "del", number: number, ...flags: string[]): Argv => [
    tools.bridge,
    ...["vlan", action, "dev", tap, "vid", String(number), ...flags, "master"],
  ];
  return [
    ...(facts.defaultVlan === 0 ? [] : [vlan("del", facts.defaultVlan)]),
    ...(untagged === undefined ? [] : [vlan("add", untagged, "pvid", "untagged")]),
    ...tagged.map((number) => vlan("add", number)),
  ];
}

/** One transaction: a port of the same name that was left behind goes, and the new one never lacks its VLANs. */
export function openvswitchSteps(tools: NetworkTools, nic: GuestNic, tap: string): Steps {
  const { untagged, tagged } = parseVlan(nic.vlan);
  const columns = [
    ...(untagged === undefined ? [] : [`tag=${untagged}`]),
    ...(tagged.length === 0 ? [] : [`trunks=${tagged.join(",")}`]),
    // Without being told, a port with a tag takes no tagged packets (ovs-vswitchd.conf.db(5), Port).
    ...(untagged !== undefined && tagged.length > 0 ? ["vlan_mode=native-untagged"] : []),
  ];
  const transaction = ["--if-exists", "del-port", tap, "--", "add-port", nic.link, tap, ...columns];
  return {
    commands: [
      [tools.ip, "link", "set", "dev", tap, "up"],
      [tools.ovsVsctl, ...transaction],
    ],
    settings: [],
  };
}

export function openvswitchDownArgv(tools: NetworkTools, tap: string): Argv {
  return [tools.ovsVsctl, "--if-exists", "del-port", tap];
}

/** The guest's address leads to the tap, and the node answers for its neighbours there. */
export function routedSteps(tools: NetworkTools, nic: GuestNic, tap: string): Steps {
  const ip = String(nic.ip);
  const family = isIpv6(ip) ? "-6" : "-4";
  const table = nic.link === "" ? [] : ["table", nic.link];
  // What the node itself says to the guest finds its way by the main table alone: rules by interface are for packets
  // that come in there.
  const ofNode = nic.link !== "" && isCommunicationNic(nic);
  return {
    commands: [
      [tools.ip, "link", "set", "dev", tap, "up"],
      ...(nic.link === "" ? [] : [[tools.ip, family, "rule", "add", "dev", tap, ...table] satisfies Argv]),
      [tools.ip, family, "route", "replace", ip, ...table, "proto", "static", "dev", tap],
      ...(ofNode ? [[tools.ip, family, "route", "replace", ip, "proto", "static", "dev", tap] satisfies Argv] : []),
    ],
    settings: [
      `/proc/sys/net/ipv4/conf/${tap}/proxy_arp`,
      `/proc/sys/net/ipv4/conf/${tap}/forwarding`,
      `/proc/sys/net/ipv6/conf/${tap}/proxy_ndp`,
      `/proc/sys/net/ipv6/conf/${tap}/forwarding`,
    ],
  };
}

/** Rules outlive the interface they name, and there may be several: to be repeated until it fails. */
export function ruleRemovalArgv(tools: NetworkTools, tap: string, family: "-4" | "-6"): Argv {
  return [tools.ip, family, "rule", "del", "dev", tap];
}

/** @throws HypervisorError when the bridge is gone meanwhile */
export async function readBridge(link: string): Promise<BridgeFacts> {
  const mtu = await readFile(`/sys/class/net/${link}/mtu`, "utf8").catch((error) => {
    throw new HypervisorError(`The bridge ${link} cannot be read`, { cause: error });
  });
  // Not there in a kernel without VLAN filtering.
  const defaultVlan = await readFile(`/sys/class/net/${link}/bridge/default_pvid`, "utf8").catch(() => "0");
  return { mtu: mtu.trim(), defaultVlan: Number(defaultVlan) };
}

/** What keeps this node from connecting a NIC in its mode; undefined when nothing does. */
export async function modeFault(
  runner: CommandRunner,
  tools: NetworkTools,
  nic: GuestNic,
  has: { readonly siteScript: boolean },
): Promise<string | undefined> {
  switch (nic.mode) {
    case "user":
      return undefined;
    case "bridged":
      return bridgedFault(nic, has);
    case "openvswitch":
      return vlanFault(nic) ?? (has.siteScript ? undefined : await openvswitchFault(runner, tools, nic));
    case "routed":
      return routedFault(nic);
    case "ext":
      return has.siteScript ? undefined : `mode ext needs the site's script ${tools.scriptFolder}/network/ext/up`;
  }
}

async function bridgedFault(nic: GuestNic, has: { readonly siteScript: boolean }): Promise<string | undefined> {
  const { link, vlan } = nic;
  if (!isInterfaceName(link)) return `link ${JSON.stringify(link)} is not the name of an interface`;
  if (!(await exists(`/sys/class/net/${link}/bridge`))) return `link ${link} is not a bridge of this node`;
  if (vlan === "" || has.siteScript) return undefined;
  const filtering = await readFile(`/sys/class/net/${link}/bridge/vlan_filtering`, "utf8").catch(() => "0");
  return (
    vlanFault(nic) ??
    (filtering.trim() === "1"
      ? undefined
      : `vlan ${vlan} needs VLAN filtering, which is off on the bridge ${link}; ` +
        `switch it on with: ip link set ${link} type bridge vlan_filtering 1`)
  );
}

async function openvswitchFault(
  runner: CommandRunner,
  tools: NetworkTools,
  { link }: GuestNic,
): Promise<string | undefined> {
  if (!isInterfaceName(link)) return `link ${JSON.stringify(link)} is not the name of a switch`;
  if (!(await exists(tools.ovsVsctl))) return `there is no ${tools.ovsVsctl} on this node; install Open vSwitch`;
  try {
    const { exitCode } = await runner.run({
      argv: [tools.ovsVsctl, "br-exists", link],
      timeoutMs: TIMEOUT_MS,
      okExitCodes: [0, 2],
    });
    return exitCode === 0 ? undefined : `link ${link} is not an Open vSwitch switch of this node`;
  } catch (error) {
    if (error instanceof CommandError) return `Open vSwitch does not answer: ${error.message}`;
    throw error;
  }
}

/** Undefined when a routed NIC can be connected. */
export function routedFault({ link, ip }: GuestNic): string | undefined {
  if (ip === null) return "mode routed needs an IP address";
  if (!isIpv4(ip) && !isIpv6(ip)) return `${JSON.stringify(ip)} is not an IP address`;
  if (link !== "" && !ROUTING_TABLE.test(link)) return `link ${JSON.stringify(link)} is not a routing table`;
  return undefined;
}

function vlanFault({ vlan }: GuestNic): string | undefined {
  try {
    parseVlan(vlan);
    return undefined;
  } catch (error) {
    if (error instanceof HypervisorError) return error.message;
    throw error;
  }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

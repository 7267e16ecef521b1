/** Fields of networks. */
import type { ConfigView, Network } from "@gannet/objects";
import { networkPool } from "@gannet/objects";
import type { Field } from "../field.ts";
import { optional, stampFields, stored } from "../field.ts";
import { niceSort } from "../nice-sort.ts";
import { available } from "../result-status.ts";
import { indexOf } from "../view-index.ts";

export interface NetworkContext {
  readonly network: Network;
  readonly view: ConfigView;
}

/** `[group, mode, link, vlan]` of each group that the network is connected to. */
function connections({ network, view }: NetworkContext): readonly (readonly string[])[] {
  return niceSort(view.groups.values(), ({ name }) => name).flatMap(({ name, networks }) => {
    const connection = networks[network.uuid];
    if (connection === undefined) return [];
    return [[name, ...["mode", "link", "vlan"].map((key) => String(connection[key] ?? "-"))]];
  });
}

function instanceNames({ network, view }: NetworkContext): readonly string[] {
  return indexOf(view).instancesOfNetwork(network.uuid);
}

export const NETWORK_FIELDS: readonly Field<NetworkContext>[] = [
  stored("name", "Network", "text", "Name of the network", ({ network }) => network.name),
  stored("network", "Subnet", "text", "IPv4 network with its prefix", ({ network }) => network.network),
  optional("gateway", "Gateway", "other", "IPv4 gateway", ({ network }) => available(network.gateway)),
  optional("network6", "IPv6Subnet", "other", "IPv6 network with its prefix", ({ network }) =>
    available(network.network6),
  ),
  optional("gateway6", "IPv6Gateway", "other", "IPv6 gateway", ({ network }) => available(network.gateway6)),
  optional("mac_prefix", "MacPrefix", "other", "MAC prefix of NICs in the network", ({ network }) =>
    available(network.macPrefix),
  ),
  stored("free_count", "FreeCount", "number", "Number of free addresses", ({ network }) =>
    networkPool.freeCount(network),
  ),
  stored("map", "Map", "text", "The addresses: X taken, . free", ({ network }) => networkPool.addressMap(network)),
  stored("reserved_count", "ReservedCount", "number", "Number of taken addresses", ({ network }) =>
    networkPool.reservedCount(network),
  ),
  stored("group_list", "GroupList", "other", "Node groups it is connected to, with mode, link and VLAN", connections),
  stored("group_cnt", "NodeGroups", "number", "Number of those groups", (row) => connections(row).length),
  stored("inst_list", "InstanceList", "other", "Instances with a NIC in it", instanceNames),
  stored("inst_cnt", "Instances", "number", "Number of those instances", (row) => instanceNames(row).length),
  stored("external_reservations", "ExternalReservations", "text", "Addresses kept for other machines", ({ network }) =>
    networkPool.externalReservations(network).join(", "),
  ),
  ...stampFields<NetworkContext>("network", ({ network }) => network),
];

/** Node groups, networks and nodes. */
import {
  ALLOC_POLICIES,
  type Cluster,
  checkEntityName,
  type GroupUuid,
  type Network,
  type NetworkUuid,
  NIC_PARAMETERS,
  NODE_PARAMETERS,
  type Node,
  type NodeGroup,
  type NodeUuid,
  normalizeHostName,
  normalizeMacPrefix,
  type Parameters,
  parseIpv4Network,
} from "@gannet/objects";
import { tellUnknown, translateStamps, translateTags } from "./cluster.ts";
import { type Findings, NotTranslatable, type Path, shown } from "./findings.ts";
import { isObject, type JsonObject } from "./json-object.ts";
import { translateDiskparams, translateParameters, translateStates } from "./parameters.ts";
import { translateGroupPolicy } from "./policy.ts";

/** Finds an object of the file by its UUID or, in older files, its name. @throws NotTranslatable at the path */
export type Finder<Uuid extends string> = (path: Path, reference: string) => Uuid;

export function translateNode(
  findings: Findings,
  object: JsonObject,
  uuid: NodeUuid,
  { groupOf, agentAddress }: { readonly groupOf: Finder<GroupUuid>; readonly agentAddress: string | undefined },
): Node {
  const primaryIp = object.text("primary_ip");
  if (primaryIp === "") throw new NotTranslatable(object.at("primary_ip"), "is empty");
  const node: Node = {
    ...translateStamps(object),
    uuid,
    name: normalizeHostName(object.text("name")),
    primaryIp,
    secondaryIp: object.text("secondary_ip", primaryIp),
    group: groupOf(object.at("group"), object.text("group")),
    masterCandidate: object.flag("master_candidate", false),
    offline: object.flag("offline", false),
    drained: object.flag("drained", false),
    masterCapable: object.flag("master_capable", true),
    vmCapable: object.flag("vm_capable", true),
    powered: object.flag("powered", true),
    ndparams: translateParameters(findings, object.at("ndparams"), object.table("ndparams"), {
      what: "node parameter",
      table: NODE_PARAMETERS,
    }),
    ...translateStates(findings, object),
    ...(agentAddress === undefined ? {} : { agentAddress }),
    tags: translateTags(findings, object),
  };
  object.ignore("uuid");
  tellUnknown(findings, object);
  return node;
}

export function translateGroup(
  findings: Findings,
  object: JsonObject,
  uuid: GroupUuid,
  { cluster, networkOf }: { readonly cluster: Pick<Cluster, "ipolicy">; readonly networkOf: Finder<NetworkUuid> },
): NodeGroup {
  const name = object.text("name");
  checkEntityName("node group", name);
  const group: NodeGroup = {
    ...translateStamps(object),
    uuid,
    name,
    allocPolicy: object.choice("alloc_policy", ALLOC_POLICIES, "preferred"),
    ndparams: translateParameters(findings, object.at("ndparams"), object.table("ndparams"), {
      what: "node parameter",
      table: NODE_PARAMETERS,
    }),
    diskparams: translateDiskparams(findings, object.at("diskparams"), object.table("diskparams")),
    ipolicy: translateGroupPolicy(findings, object.at("ipolicy"), object.table("ipolicy"), cluster.ipolicy),
    networks: connections(findings, object, networkOf),
    ...translateStates(findings, object),
    tags: translateTags(findings, object),
  };
  // Nodes themselves say in which group they are.
  object.ignore("uuid", "members");
  tellUnknown(findings, object);
  return group;
}

function connections(
  findings: Findings,
  object: JsonObject,
  networkOf: Finder<NetworkUuid>,
): Readonly<Record<string, Parameters>> {
  return Object.fromEntries(
    Object.entries(object.table("networks")).flatMap(([reference, values]) => {
      const at = [...object.at("networks"), reference];
      const connection = findings.attempt("the connection", at, () => {
        const network = networkOf(at, reference);
        if (!isObject(values)) throw new NotTranslatable(at, `is ${shown(values)} where an object is expected`);
        return [network, translateParameters(findings, at, values, nicLevel)] as const;
      });
      return connection === undefined ? [] : [connection];
    }),
  );
}

export const nicLevel = { what: "NIC parameter", table: NIC_PARAMETERS } as const;

const BITS = /^[01]*$/;
/** As in the model's own networks: two characters an address are kept. */
const SHORTEST_PREFIX = 16;

export function translateNetwork(findings: Findings, object: JsonObject, uuid: NetworkUuid): Network {
  const name = object.text("name");
  checkEntityName("network", name);
  const network = object.text("network");
  const { size, prefix } = parseIpv4Network(network) ?? { size: 0, prefix: 0 };
  if (size === 0) throw new NotTranslatable(object.at("network"), `${shown(network)} is no IPv4 network`);
  if (prefix < SHORTEST_PREFIX)
    throw new NotTranslatable(
      object.at("network"),
      `${network} is larger than Gannet's largest, a /${SHORTEST_PREFIX}`,
    );
  const bits = (field: string): string => {
    const value = object.text(field, "0".repeat(size));
    if (!BITS.test(value)) throw new NotTranslatable(object.at(field), "has other characters than 0 and 1");
    if (value.length !== size)
      throw new NotTranslatable(object.at(field), `has ${value.length} digits for ${size} addresses`);
    return value;
  };
  const macPrefix = object.textOrNull("mac_prefix");
  const row: Network = {
    ...translateStamps(object),
    uuid,
    name,
    macPrefix: macPrefix === null || macPrefix === "" ? null : normalizeMacPrefix(macPrefix),
    network,
    network6: object.textOrNull("network6"),
    gateway: object.textOrNull("gateway"),
    gateway6: object.textOrNull("gateway6"),
    reservations: bits("reservations"),
    extReservations: bits("ext_reservations"),
    tags: translateTags(findings, object),
  };
  // Of Ganeti before 2.9, and never used.
  object.ignore("uuid", "family", "network_type", "size");
  tellUnknown(findings, object);
  return row;
}

/**
 * Inheritance: the complete parameters of an object from the levels above it and its own
 * (spec/config.json, `inheritance`). Each function depends on nothing but its arguments, so that a caller may
 * keep results for as long as it keeps the rows they came from.
 */
import type { ConfigView } from "./config-view.ts";
import { GLOBAL_HYPERVISOR_PARAMETERS, HYPERVISOR_DEFAULTS } from "./hypervisor-parameters.ts";
import type { Cluster, Instance, InstancePolicy, Network, Nic, Node, NodeGroup, Parameters } from "./model.ts";
import type { DiskTemplate, HypervisorName } from "./names.ts";
import { DISK_TEMPLATES } from "./names.ts";
import { splitOsName } from "./names-validation.ts";
import { defaultsOf } from "./parameter-table.ts";
import { BACKEND_PARAMETERS, DISK_PARAMETERS, NIC_PARAMETERS, NODE_PARAMETERS } from "./parameter-tables.ts";

const BACKEND_DEFAULTS = defaultsOf(BACKEND_PARAMETERS);
const NIC_DEFAULTS = defaultsOf(NIC_PARAMETERS);
const NODE_DEFAULTS = defaultsOf(NODE_PARAMETERS);

/**
 * Everything an instance inherits for its hypervisor, globals included.
 * @param os - the instance's OS with its variant, or null for what holds for any
 */
export function inheritedHvparams(cluster: Cluster, hypervisor: HypervisorName, os: string | null): Parameters {
  return {
    ...HYPERVISOR_DEFAULTS[hypervisor],
    ...cluster.hvparams[hypervisor],
    ...(os === null ? undefined : cluster.osHvp[os]?.[hypervisor]),
  };
}

/** The complete hypervisor parameters that a guest is started with. */
export function filledHvparams(
  cluster: Cluster,
  instance: Pick<Instance, "hypervisor" | "os" | "hvparams">,
): Parameters {
  return { ...inheritedHvparams(cluster, instance.hypervisor, instance.os), ...instance.hvparams };
}

/** Parameters without those that only the cluster sets: what an instance shows as its own. */
export function withoutGlobals(hvparams: Parameters): Parameters {
  return Object.fromEntries(Object.entries(hvparams).filter(([name]) => !GLOBAL_HYPERVISOR_PARAMETERS.has(name)));
}

export function inheritedBeparams(cluster: Cluster): Parameters {
  return { ...BACKEND_DEFAULTS, ...cluster.beparams };
}

export function filledBeparams(cluster: Cluster, instance: Pick<Instance, "beparams">): Parameters {
  return { ...inheritedBeparams(cluster), ...instance.beparams };
}

/** The public OS parameters: of the OS, then of its variant, then the instance's own. */
export function filledOsparams(cluster: Cluster, instance: Pick<Instance, "os" | "osparams">): Parameters {
  return { ...ofOs(cluster.osparams, instance.os), ...instance.osparams };
}

/** The private OS parameters, which nothing but the OS scripts and the guest itself may see. */
export function filledPrivateOsparams(
  cluster: Cluster,
  instance: Pick<Instance, "os" | "osparamsPrivate">,
): Parameters {
  return { ...ofOs(cluster.osparamsPrivate, instance.os), ...instance.osparamsPrivate };
}

function ofOs(levels: Readonly<Record<string, Parameters>>, os: string): Parameters {
  const { name } = splitOsName(os);
  return { ...levels[name], ...(name === os ? undefined : levels[os]) };
}

/**
 * A NIC's complete parameters.
 * @param connection - the parameters with which the NIC's network is connected to the node group; undefined
 *   when the NIC is in no network, or the network is not connected
 */
export function filledNicparams(
  cluster: Cluster,
  connection: Parameters | undefined,
  nicparams: Parameters,
): Parameters {
  return { ...NIC_DEFAULTS, ...cluster.nicparams, ...connection, ...nicparams };
}

/** A NIC's complete parameters where its instance is now. */
export function nicparamsOf(view: ConfigView, instance: Pick<Instance, "primaryNode">, nic: Nic): Parameters {
  return filledNicparams(view.cluster, connectionOf(view, instance, nic.network), nic.nicparams);
}

function connectionOf(
  view: ConfigView,
  instance: Pick<Instance, "primaryNode">,
  network: Network["uuid"] | null,
): Parameters | undefined {
  if (network === null) return undefined;
  const node = view.nodes.get(instance.primaryNode);
  return node === undefined ? undefined : view.groups.get(node.group)?.networks[network];
}

/** What a group's nodes inherit. */
export function groupNdparams(cluster: Cluster, group: Pick<NodeGroup, "ndparams">): Parameters {
  return { ...NODE_DEFAULTS, ...cluster.ndparams, ...group.ndparams };
}

export function filledNdparams(
  cluster: Cluster,
  group: Pick<NodeGroup, "ndparams">,
  node: Pick<Node, "ndparams">,
): Parameters {
  return { ...groupNdparams(cluster, group), ...node.ndparams };
}

type DiskparamsLevel = Readonly<Partial<Record<DiskTemplate, Parameters>>>;

/** Disk parameters of one template, as the cluster has them, or a group of it. */
export function filledDiskparams(
  cluster: Cluster,
  group: Pick<NodeGroup, "diskparams"> | null,
  template: DiskTemplate,
): Parameters {
  return { ...defaultsOf(DISK_PARAMETERS[template]), ...cluster.diskparams[template], ...group?.diskparams[template] };
}

/** Disk parameters of every template. */
export function allDiskparams(
  cluster: Cluster,
  group: Pick<NodeGroup, "diskparams"> | null,
): Required<DiskparamsLevel> {
  return Object.fromEntries(
    DISK_TEMPLATES.map((template) => [template, filledDiskparams(cluster, group, template)]),
  ) as Required<DiskparamsLevel>;
}

/** A group's policy: its bounds replace the cluster's as a whole, single standard sizes are merged. */
export function filledPolicy(cluster: Pick<Cluster, "ipolicy">, group: Pick<NodeGroup, "ipolicy">): InstancePolicy {
  const { std, ...own } = group.ipolicy;
  return { ...cluster.ipolicy, ...definedOnly(own), std: { ...cluster.ipolicy.std, ...std } };
}

function definedOnly<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

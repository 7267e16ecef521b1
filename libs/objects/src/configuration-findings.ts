/** What contradicts itself in a configuration, whatever nodes say. */
import { GannetError } from "@gannet/errors";
import { checkBackendParameters } from "./backend-parameters.ts";
import { candidatePool } from "./candidate-pool.ts";
import type { ConfigView } from "./config-view.ts";
import { drbdIdOf } from "./drbd.ts";
import { filledBeparams, filledHvparams, filledPolicy, inheritedBeparams, inheritedHvparams } from "./filling.ts";
import { checkHypervisorParameters } from "./hypervisor-parameters.ts";
import { policyProblems } from "./instance-policy.ts";
import { parseIpv4Network } from "./ip-address.ts";
import type { Disk, Instance, Network } from "./model.ts";
import { contains, isReserved } from "./network-pool.ts";
import { ROLE_FLAGS } from "./node-roles.ts";

/** Codes of OP_CLUSTER_VERIFY_CONFIG (spec/opcodes.json, `verify_error_codes`). */
export type ConfigurationCode = "ECLUSTERCFG" | "ECLUSTERDANGLINGNODES" | "ECLUSTERDANGLINGINST";

export interface ConfigurationFinding {
  readonly code: ConfigurationCode;
  /** Name of what it is about; empty for the cluster. */
  readonly item: string;
  readonly problem: string;
}

/** Everything that is wrong, in the order of the kinds of objects. */
export function configurationFindings(view: ConfigView): readonly ConfigurationFinding[] {
  return [
    ...ofCluster(view).map(configuration("")),
    ...byName(view.groups).flatMap((group) => ofGroup(view, group.uuid).map(configuration(`group ${group.name}`))),
    ...ofNodes(view),
    ...ofInstances(view),
    ...ofDisks(view).map(configuration("")),
    ...ofNetworks(view),
  ];
}

/** Views are in no order; what is found twice is told of the later name. */
function byName<Row extends { readonly name: string }>(rows: ReadonlyMap<unknown, Row>): readonly Row[] {
  return [...rows.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function configuration(item: string): (problem: string) => ConfigurationFinding {
  return (problem) => ({ code: "ECLUSTERCFG", item, problem });
}

function ofCluster(view: ConfigView): readonly string[] {
  const { cluster, nodes } = view;
  const master = nodes.get(cluster.masterNode);
  const { candidates, wanted } = candidatePool(cluster, nodes.values());
  return [
    ...(master === undefined ? [`the master node ${cluster.masterNode} is no node of the cluster`] : []),
    ...(master?.offline || master?.drained ? [`the master node ${master.name} is marked offline or drained`] : []),
    ...(candidates < wanted ? [`Not enough master candidates: actual ${candidates}, target ${wanted}`] : []),
    ...(cluster.enabledHypervisors.length === 0 ? ["no hypervisor is enabled"] : []),
    ...(cluster.enabledDiskTemplates.length === 0 ? ["no disk template is enabled"] : []),
    ...policyProblems(cluster.ipolicy).map((problem) => `instance policy: ${problem}`),
    ...complaint("backend parameters", () => checkBackendParameters(inheritedBeparams(cluster))),
    ...cluster.enabledHypervisors.flatMap((hypervisor) =>
      complaint(`parameters of ${hypervisor}`, () =>
        checkHypervisorParameters(hypervisor, inheritedHvparams(cluster, hypervisor, null)),
      ),
    ),
  ];
}

function ofGroup(view: ConfigView, uuid: Parameters<ConfigView["groups"]["get"]>[0]): readonly string[] {
  const group = view.groups.get(uuid);
  if (group === undefined) return [];
  const policy = filledPolicy(view.cluster, group);
  // Standard sizes are the cluster's alone.
  const problems = policyProblems({ ...policy, std: policy.minmax[0]?.min ?? policy.std });
  const unknown = Object.keys(group.networks).filter((network) => !view.networks.has(network as Network["uuid"]));
  return [
    ...problems.map((problem) => `instance policy: ${problem}`),
    ...unknown.map((network) => `it is connected to an unknown network, ${network}`),
  ];
}

function ofNodes({ nodes, groups }: ConfigView): readonly ConfigurationFinding[] {
  const owners = new Map<string, string>();
  return byName(nodes).flatMap((node): readonly ConfigurationFinding[] => {
    const shared = [...new Set([node.primaryIp, node.secondaryIp])].flatMap((ip) => {
      const other = owners.get(ip);
      owners.set(ip, node.name);
      return other === undefined ? [] : [`it has the address ${ip}, as node ${other}`];
    });
    const roles = ROLE_FLAGS.filter((flag) => node[flag]);
    return [
      ...[...shared, ...(roles.length > 1 ? [`it has several roles at once: ${roles.join(", ")}`] : [])].map(
        configuration(`node ${node.name}`),
      ),
      ...(groups.has(node.group)
        ? []
        : [
            {
              code: "ECLUSTERDANGLINGNODES",
              item: node.name,
              problem: "it belongs to a group that does not exist",
            } as const,
          ]),
    ];
  });
}

function ofInstances(view: ConfigView): readonly ConfigurationFinding[] {
  const macs = new Map<string, string>();
  return byName(view.instances).flatMap((instance): readonly ConfigurationFinding[] => [
    ...(view.nodes.has(instance.primaryNode)
      ? []
      : [{ code: "ECLUSTERDANGLINGINST", item: instance.name, problem: "its primary node does not exist" } as const]),
    ...[...parameterProblems(view, instance), ...deviceProblems(view, instance, macs)].map(
      configuration(`instance ${instance.name}`),
    ),
  ]);
}

function parameterProblems({ cluster }: ConfigView, instance: Instance): readonly string[] {
  const { hypervisor, diskTemplate } = instance;
  return [
    ...(cluster.enabledHypervisors.includes(hypervisor) ? [] : [`hypervisor ${hypervisor} is not enabled`]),
    ...(cluster.enabledDiskTemplates.includes(diskTemplate) ? [] : [`disk template ${diskTemplate} is not enabled`]),
    ...complaint("hypervisor parameters", () =>
      checkHypervisorParameters(hypervisor, filledHvparams(cluster, instance)),
    ),
    ...complaint("backend parameters", () => checkBackendParameters(filledBeparams(cluster, instance))),
  ];
}

/** @param macs - of the instances before; those of this one are added */
function deviceProblems(view: ConfigView, instance: Instance, macs: Map<string, string>): readonly string[] {
  const missing = instance.disks.filter((uuid) => !view.disks.has(uuid));
  return [
    ...missing.map((uuid) => `its disk ${uuid} does not exist`),
    ...instance.nics.flatMap((nic, index) => {
      const other = macs.get(nic.mac);
      macs.set(nic.mac, instance.name);
      const network = nic.network === null ? undefined : view.networks.get(nic.network);
      const isUnreserved =
        network !== undefined && nic.ip !== null && contains(network, nic.ip) && !isReserved(network, nic.ip);
      return [
        ...(other === undefined ? [] : [`nic/${index} has the MAC address ${nic.mac}, as one of ${other}`]),
        ...(nic.network !== null && network === undefined ? [`nic/${index} is in a network that does not exist`] : []),
        ...(isUnreserved ? [`nic/${index} has the address ${nic.ip}, which is free in ${network.name}`] : []),
      ];
    }),
  ];
}

function ofDisks({ disks, instances, nodes, cluster }: ConfigView): readonly string[] {
  const owners = new Map<string, string[]>();
  for (const { name, disks: own } of instances.values())
    for (const uuid of own) owners.set(uuid, [...(owners.get(uuid) ?? []), name]);
  const taken = new Map<string, string>();
  return [...disks.values()].flatMap((disk) => {
    const of = owners.get(disk.uuid) ?? [];
    const title = `disk ${disk.uuid} of ${of[0] ?? "no instance"}`;
    return [
      ...(of.length > 1 ? [`disk ${disk.uuid} belongs to several instances: ${of.join(", ")}`] : []),
      ...(disk.nodes.every((node) => nodes.has(node)) ? [] : [`${title} is on a node that does not exist`]),
      ...(disk.template === "drbd" ? numberProblems(disk, title, cluster.tcpudpPortPool, taken) : []),
    ];
  });
}

/** @param taken - minors and ports of the disks before; those of this one are added */
function numberProblems(
  disk: Disk,
  title: string,
  freePorts: readonly number[],
  taken: Map<string, string>,
): readonly string[] {
  const { nodes, minors, port } = drbdIdOf(disk);
  const numbers = [`port ${port}`, ...nodes.map((node, end) => `minor ${minors[end]} of node ${node}`)];
  const problems = numbers.flatMap((number) => {
    const other = taken.get(number);
    taken.set(number, title);
    return other === undefined ? [] : [`${title} uses ${number}, as ${other}`];
  });
  return freePorts.includes(port) ? [...problems, `${title} uses port ${port}, which is free`] : problems;
}

function ofNetworks(view: ConfigView): readonly ConfigurationFinding[] {
  const used = new Map<string, number>();
  for (const { nics } of view.instances.values())
    for (const { network, ip } of nics)
      if (network !== null && ip !== null && parseIpv4Network(`${ip}/32`) !== undefined)
        used.set(network, (used.get(network) ?? 0) + 1);
  return byName(view.networks).flatMap((network) => {
    const size = parseIpv4Network(network.network)?.size;
    const isMisshapen = size !== network.reservations.length || size !== network.extReservations.length;
    const reserved = network.reservations.split("1").length - 1;
    const users = used.get(network.uuid) ?? 0;
    return [
      ...(isMisshapen ? ["its reservations do not fit its size"] : []),
      ...(reserved === users ? [] : [`it has ${reserved} addresses reserved for instances, which have ${users}`]),
    ].map(configuration(`network ${network.name}`));
  });
}

function complaint(what: string, check: () => void): readonly string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof GannetError) return [`${what}: ${error.message}`];
    throw error;
  }
}

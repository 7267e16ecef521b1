/**
 * What is wrong with where instances have been placed, worked out from the messages alone and as plainly as possible:
 * the judge of the allocator's answers.
 */
import type { AllocatorCluster, AllocatorInstance, AllocatorNode } from "@gannet/allocator";
import type { DiskTemplate } from "@gannet/objects";
import { DISK_TEMPLATE_TRAITS } from "@gannet/objects";

export interface Arrival {
  readonly name: string;
  readonly instance: AllocatorInstance;
}

/** Problems of instances' nodes that they were not on before in the same role; none: all is well. */
export function problemsAfter(cluster: AllocatorCluster, arrivals: readonly Arrival[]): readonly string[] {
  const after = { ...cluster.instances, ...Object.fromEntries(arrivals.map(({ name, instance }) => [name, instance])) };
  return arrivals.flatMap((arrival) => {
    const { name, instance } = arrival;
    const before = cluster.instances[name]?.nodes ?? [];
    const [primary = "", secondary] = instance.nodes;
    return [
      ...nodeSetProblems(cluster, instance),
      ...(primary === before[0] ? [] : primaryProblems(cluster, after, primary, name)),
      ...(secondary === undefined || instance.nodes.join() === before.join()
        ? []
        : secondaryProblems(cluster, after, secondary, before)),
      ...instance.nodes
        .filter((node) => !before.includes(node))
        .flatMap((node) => copyProblems(cluster, after, node, instance)),
    ].map((problem) => `${name} on ${instance.nodes}: ${problem}`);
  });
}

function nodeSetProblems(cluster: AllocatorCluster, { nodes, disk_template }: AllocatorInstance): readonly string[] {
  const { needsSecondary } = DISK_TEMPLATE_TRAITS[disk_template as DiskTemplate];
  const groups = new Set(nodes.map((node) => cluster.nodes[node]?.group));
  return [
    ...(nodes.length === (needsSecondary ? 2 : 1) ? [] : ["wrong number of nodes"]),
    ...(new Set(nodes).size === nodes.length ? [] : ["a node twice"]),
    ...(groups.size === 1 && !groups.has(undefined) ? [] : ["unknown node, or of several groups"]),
  ];
}

type Instances = Readonly<Record<string, AllocatorInstance>>;

function primaryProblems(
  cluster: AllocatorCluster,
  after: Instances,
  name: string,
  arrived: string,
): readonly string[] {
  const node = cluster.nodes[name];
  if (node === undefined || !takesInstances(node)) return ["primary takes no instances"];
  const primaries = Object.entries(after).filter(([, { nodes }]) => nodes[0] === name);
  const vcpus = sum(primaries, ([, instance]) => instance.vcpus);
  const ratio = cluster.nodegroups[node.group]?.ipolicy["vcpu-ratio"] ?? 0;
  const exclusion = (tags: readonly string[] = []) => tags.filter((tag) => isExclusion(cluster, tag));
  const mine = exclusion(after[arrived]?.tags);
  return [
    ...(freeMemory(cluster, after, name) < 0 ? ["no memory"] : []),
    ...(freeMemory(cluster, after, name) < reserved(after, name) ? ["primary fails N+1"] : []),
    ...(vcpus > ratio * (node.total_cpus ?? 0) ? ["too many vcpus"] : []),
    ...(primaries.some(([other, { tags }]) => other !== arrived && exclusion(tags).some((tag) => mine.includes(tag)))
      ? ["exclusion tag twice"]
      : []),
  ];
}

/** A node that the instance was on may keep it, though it takes no other. */
function secondaryProblems(
  cluster: AllocatorCluster,
  after: Instances,
  name: string,
  before: readonly string[],
): readonly string[] {
  const node = cluster.nodes[name];
  if (node === undefined || !takesInstances(node)) return before.includes(name) ? [] : ["secondary takes no instances"];
  return freeMemory(cluster, after, name) < reserved(after, name) ? ["secondary fails N+1"] : [];
}

function copyProblems(
  cluster: AllocatorCluster,
  after: Instances,
  name: string,
  arrived: AllocatorInstance,
): readonly string[] {
  const node = cluster.nodes[name];
  const here = Object.values(after).filter(({ nodes }) => nodes.includes(name));
  const before = Object.values(cluster.instances).filter(({ nodes }) => nodes.includes(name));
  const local = (instances: readonly AllocatorInstance[]) =>
    sum(instances, ({ disk_template, disk_space_total }) =>
      DISK_TEMPLATE_TRAITS[disk_template as DiskTemplate].mirroring === "external" ? 0 : disk_space_total,
    );
  const ratio = cluster.nodegroups[node?.group ?? ""]?.ipolicy["spindle-ratio"] ?? 0;
  return [
    ...(local([arrived]) > 0 && (node?.free_disk ?? 0) + local(before) - local(here) < 0 ? ["no disk"] : []),
    ...(sum(here, ({ spindle_use }) => spindle_use) > ratio ? ["too many spindles"] : []),
  ];
}

/** As if everything that is not offline ran. */
function freeMemory(cluster: AllocatorCluster, after: Instances, name: string): number {
  const primaries = (instances: Instances, states: readonly string[]) =>
    sum(
      Object.values(instances).filter(({ nodes, admin_state }) => nodes[0] === name && states.includes(admin_state)),
      ({ memory }) => memory,
    );
  return (
    (cluster.nodes[name]?.free_memory ?? 0) + primaries(cluster.instances, ["up"]) - primaries(after, ["up", "down"])
  );
}

function reserved(after: Instances, name: string): number {
  const peers = new Map<string, number>();
  for (const { nodes, memory, admin_state } of Object.values(after)) {
    const [primary = "", secondary] = nodes;
    if (secondary === name && admin_state !== "offline") peers.set(primary, (peers.get(primary) ?? 0) + memory);
  }
  return Math.max(0, ...peers.values());
}

export function takesInstances(node: AllocatorNode): boolean {
  return !node.offline && !node.drained && node.vm_capable && node.free_memory !== undefined;
}

function isExclusion(cluster: AllocatorCluster, tag: string): boolean {
  return cluster.cluster_tags.some((rule) => tag.startsWith(`${rule.replace("htools:iextags:", "")}:`));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

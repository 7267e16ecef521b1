/** The configuration rows of a new one-machine cluster, and of nodes added to it later. */
import { randomUUID } from "node:crypto";
import type { ConfigChange, ConfigRows } from "@gannet/config-store";
import {
  type ConfigView,
  DEFAULT_POLICY,
  type DiskTemplate,
  type GroupUuid,
  type HypervisorName,
  type InstancePolicy,
  type NewNode,
  type Node,
  type NodeUuid,
  newCluster,
  newNode,
} from "@gannet/objects";
import { DOMAIN, type Layout, type NodePlan } from "./layout.ts";
import { QEMU } from "./settings.ts";

/** Paths as the cluster knows them; each agent keeps them below a folder of its own. */
export const FILE_STORAGE_DIR = "/srv/ganeti/file-storage";
export const SHARED_FILE_STORAGE_DIR = "/srv/ganeti/shared-file-storage";

/** Small guests and diskless ones are what people try first: wider than Ganeti's standard bounds. */
const WIDE_POLICY: Partial<InstancePolicy> = {
  minmax: DEFAULT_POLICY.minmax.map(({ min, max }) => ({
    min: { ...min, "memory-size": 16, "disk-size": 1, "disk-count": 0, "nic-count": 0, "spindle-use": 0 },
    max,
  })),
};

export interface ClusterPlan {
  readonly layout: Layout;
  readonly hypervisors: readonly HypervisorName[];
  readonly diskTemplates: readonly DiskTemplate[];
  /** Of templates plain and drbd, on every node; none when absent. */
  readonly volumeGroup?: string | undefined;
  /** Link of NICs that name none. */
  readonly bridge: string;
  /** Port of each node's agent, by the node's id. */
  readonly ports: ReadonlyMap<string, number>;
}

/** Rows of a new cluster with all nodes of the layout. */
export function initialRows(plan: ClusterPlan): ConfigRows {
  const [first, ...others] = plan.layout.nodes;
  const [hypervisor, ...moreHypervisors] = plan.hypervisors;
  const [template, ...moreTemplates] = plan.diskTemplates;
  if (first === undefined || hypervisor === undefined || template === undefined)
    throw new Error("a cluster needs a node, a hypervisor and a disk template");
  const group = randomUUID() as GroupUuid;
  const rows = newCluster({
    uuid: randomUUID(),
    name: `cluster.${DOMAIN}`,
    now: Date.now() / 1000,
    group: { uuid: group },
    node: nodeOf(first, plan.ports),
    masterIp: "127.0.0.1",
    masterNetdev: "lo",
    enabledHypervisors: [hypervisor, ...moreHypervisors],
    enabledDiskTemplates: [template, ...moreTemplates],
    ...(plan.volumeGroup === undefined ? {} : { volumeGroupName: plan.volumeGroup }),
    hvparams: { kvm: { kvm_path: QEMU } },
    nicparams: { mode: "bridged", link: plan.bridge },
    fileStorageDir: FILE_STORAGE_DIR,
    sharedFileStorageDir: SHARED_FILE_STORAGE_DIR,
    ipolicy: { ...WIDE_POLICY, "disk-templates": [template, ...moreTemplates] },
  });
  return {
    cluster: rows.cluster,
    groups: [rows.group],
    nodes: [rows.node, ...others.map((node) => nodeRow(node, group, plan.ports))],
  };
}

/** Nodes of the layout that an existing cluster does not have yet: GANNET_NODES has grown. */
export function missingNodes(
  view: ConfigView,
  { layout, ports }: Pick<ClusterPlan, "layout" | "ports">,
): readonly ConfigChange[] {
  const [group] = view.groups.keys();
  if (group === undefined) return [];
  return layout.nodes
    .filter((node) => view.findNode(node.name) === undefined)
    .map((node) => ({ kind: "node", put: nodeRow(node, group, ports) }));
}

function nodeRow(plan: NodePlan, group: GroupUuid, ports: ReadonlyMap<string, number>): Node {
  return newNode(nodeOf(plan, ports), group, Date.now() / 1000, { masterCandidate: true });
}

function nodeOf(plan: NodePlan, ports: ReadonlyMap<string, number>): NewNode {
  return {
    uuid: randomUUID() as NodeUuid,
    name: plan.name,
    primaryIp: plan.ip,
    agentAddress: `${plan.ip}:${ports.get(plan.id)}`,
  };
}

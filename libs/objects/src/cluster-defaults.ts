/** The rows that a new cluster begins with: the cluster, its first node, its first node group. */
import { OpPrereqError } from "@gannet/errors";
import { DEFAULT_POLICY, policyProblems } from "./instance-policy.ts";
import { normalizeMacPrefix } from "./mac.ts";
import type { Cluster, InstancePolicy, Node, NodeGroup, Parameters } from "./model.ts";
import type { DiskTemplate, GroupUuid, HypervisorName, NodeUuid } from "./names.ts";
import { normalizeHostName } from "./names-validation.ts";
import { defaultsOf, refuseProblems } from "./parameter-table.ts";
import { BACKEND_PARAMETERS, NIC_PARAMETERS, NODE_PARAMETERS } from "./parameter-tables.ts";
import { FIRST_PORT } from "./ports.ts";

/** Name of the node group that a new cluster has. */
export const INITIAL_GROUP = "default";

export interface NewCluster {
  readonly uuid: string;
  readonly name: string;
  /** Seconds since 1970. */
  readonly now: number;
  readonly group: { readonly uuid: GroupUuid };
  readonly node: NewNode;
  /** The address that follows the master; the first node's own when absent. */
  readonly masterIp?: string;
  /** Interface that carries it. */
  readonly masterNetdev?: string;
  /** The first is the default. */
  readonly enabledHypervisors: readonly [HypervisorName, ...HypervisorName[]];
  readonly enabledDiskTemplates: readonly [DiskTemplate, ...DiskTemplate[]];
  readonly hvparams?: Cluster["hvparams"];
  readonly nicparams?: Parameters;
  readonly macPrefix?: string;
  /** Empty when there is none: LVM is not used. */
  readonly volumeGroupName?: string;
  readonly fileStorageDir?: string;
  readonly sharedFileStorageDir?: string;
  readonly glusterStorageDir?: string;
  readonly defaultIallocator?: string;
  /**
   * Parts of the policy that differ from Ganeti's defaults. Those refuse disks below 1 GiB: a cluster for
   * trying things out gives wider bounds.
   */
  readonly ipolicy?: Partial<InstancePolicy>;
  readonly rapiDefaults?: Cluster["rapiDefaults"];
  readonly rapiAnonymousReads?: boolean;
}

/** A node to be added. */
export interface NewNode {
  readonly uuid: NodeUuid;
  readonly name: string;
  readonly primaryIp: string;
  /** The primary address when absent. */
  readonly secondaryIp?: string;
  readonly agentAddress?: string;
}

const COLLECTORS = ["cpu-avg-load", "diskstats", "drbd", "inst-status-xen", "lv", "xen-cpu-avg-load"];
/** In microseconds. */
const COLLECTOR_INTERVAL = 5_000_000;
const FULL_NETMASK = { 2: 32, 10: 128 } as const;

/**
 * Complete rows, not yet stored (`serialNo` 0), with Ganeti's defaults (spec/config.json, `cluster_defaults`)
 * where nothing else is said; but /etc/hosts and SSH keys are left alone.
 * Hypervisor and disk parameters hold only what differs from the tables, so that a parameter added later has
 * its default in old clusters too.
 * @throws OpPrereqError `wrong_input` on a name, prefix or policy that cannot be
 */
export function newCluster(options: NewCluster): {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly group: NodeGroup;
} {
  const ipolicy: InstancePolicy = { ...DEFAULT_POLICY, ...options.ipolicy };
  refuseProblems(policyProblems(ipolicy));
  const masterIp = options.masterIp ?? options.node.primaryIp;
  const family = masterIp.includes(":") ? 10 : 2;
  const cluster: Cluster = {
    ...newStamps(options.now),
    uuid: options.uuid,
    name: normalizeHostName(options.name),
    masterNode: options.node.uuid,
    masterIp,
    masterNetdev: options.masterNetdev ?? "xen-br0",
    masterNetmask: FULL_NETMASK[family],
    useExternalMipScript: false,
    primaryIpFamily: family,
    highestUsedPort: FIRST_PORT - 1,
    tcpudpPortPool: [],
    macPrefix: normalizeMacPrefix(options.macPrefix ?? "aa:00:00"),
    volumeGroupName: options.volumeGroupName ?? "",
    reservedLvs: [],
    drbdUsermodeHelper: options.enabledDiskTemplates.includes("drbd") ? "/bin/true" : "",
    fileStorageDir: options.fileStorageDir ?? "/srv/ganeti/file-storage",
    sharedFileStorageDir: options.sharedFileStorageDir ?? "/srv/ganeti/shared-file-storage",
    glusterStorageDir: options.glusterStorageDir ?? "/var/run/ganeti/gluster",
    enabledHypervisors: [...options.enabledHypervisors],
    enabledDiskTemplates: [...options.enabledDiskTemplates],
    hvparams: options.hvparams ?? {},
    osHvp: {},
    beparams: defaultsOf(BACKEND_PARAMETERS),
    osparams: {},
    osparamsPrivate: {},
    nicparams: { ...defaultsOf(NIC_PARAMETERS), ...options.nicparams },
    ndparams: defaultsOf(NODE_PARAMETERS),
    diskparams: {},
    ipolicy,
    hvState: {},
    diskState: {},
    candidatePoolSize: 10,
    modifyEtcHosts: false,
    modifySshSetup: false,
    maintainNodeHealth: false,
    uidPool: [],
    defaultIallocator: options.defaultIallocator ?? "hail",
    defaultIallocatorParams: {},
    hiddenOs: [],
    blacklistedOs: [],
    preallocWipeDisks: false,
    maxRunningJobs: 20,
    maxTrackedJobs: 25,
    installImage: "",
    zeroingImage: "",
    instanceCommunicationNetwork: "",
    compressionTools: ["gzip", "gzip-fast", "gzip-slow"],
    enabledUserShutdown: false,
    dataCollectors: Object.fromEntries(
      COLLECTORS.map((name) => [name, { active: true, interval: COLLECTOR_INTERVAL }]),
    ),
    sshKeyType: "rsa",
    sshKeyBits: 2048,
    rapiDefaults: options.rapiDefaults ?? "3.1",
    rapiAnonymousReads: options.rapiAnonymousReads ?? false,
    destroyed: false,
    tags: [],
  };
  return {
    cluster,
    node: newNode(options.node, options.group.uuid, options.now, { masterCandidate: true }),
    group: newGroup(options.group.uuid, INITIAL_GROUP, options.now),
  };
}

/**
 * The row of a node to be added, not yet stored.
 * @throws OpPrereqError `wrong_input` on a name that cannot be
 */
export function newNode(
  node: NewNode,
  group: GroupUuid,
  now: number,
  { masterCandidate }: Pick<Node, "masterCandidate">,
): Node {
  if (node.primaryIp === "") throw new OpPrereqError(`Node ${node.name} needs a primary address`, "wrong_input");
  return {
    ...newStamps(now),
    uuid: node.uuid,
    name: normalizeHostName(node.name),
    primaryIp: node.primaryIp,
    secondaryIp: node.secondaryIp ?? node.primaryIp,
    group,
    masterCandidate,
    offline: false,
    drained: false,
    masterCapable: true,
    vmCapable: true,
    powered: true,
    ndparams: {},
    hvState: {},
    diskState: {},
    ...(node.agentAddress === undefined ? undefined : { agentAddress: node.agentAddress }),
    tags: [],
  };
}

/** The row of an empty node group, not yet stored. */
export function newGroup(uuid: GroupUuid, name: string, now: number): NodeGroup {
  return {
    ...newStamps(now),
    uuid,
    name,
    allocPolicy: "preferred",
    ndparams: {},
    diskparams: {},
    ipolicy: {},
    networks: {},
    hvState: {},
    diskState: {},
    tags: [],
  };
}

function newStamps(now: number): Pick<Cluster, "ctime" | "mtime" | "serialNo"> {
  return { ctime: now, mtime: now, serialNo: 0 };
}

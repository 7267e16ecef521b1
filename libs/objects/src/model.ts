/**
 * The cluster model: one type and one schema for each kind of entity (spec/config.json, `objects`).
 *
 * Rows are stored with these camelCase keys; Ganeti's snake_case appears at the remote API and in opcodes.
 * `serialNo` counts the changes of one row and is what compare-and-set commits compare.
 */
import { z } from "zod";
import {
  ADMIN_STATE_SOURCES,
  ADMIN_STATES,
  ALLOC_POLICIES,
  DISK_TEMPLATES,
  diskUuid,
  groupUuid,
  HYPERVISORS,
  instanceUuid,
  networkUuid,
  nodeUuid,
} from "./names.ts";

/** A parameter's value as configuration and opcodes carry it. */
export const parameterValue = z.union([z.string(), z.number(), z.boolean(), z.null()]);
export type ParameterValue = z.infer<typeof parameterValue>;
/** Values set at one level; absent names are inherited from the level above. */
export type Parameters = Readonly<Record<string, ParameterValue>>;
const parameters = z.record(z.string(), parameterValue);

const stamped = {
  /** Seconds since 1970, with fraction. */
  ctime: z.number(),
  mtime: z.number(),
  serialNo: z.int().nonnegative(),
};
const tags = z.array(z.string());

/** Bounds and standard sizes of an instance (spec/config.json, `ipolicy`); keys are Ganeti's. */
export const instanceSpec = z.object({
  "cpu-count": z.int(),
  "disk-count": z.int(),
  "disk-size": z.int(),
  "memory-size": z.int(),
  "nic-count": z.int(),
  "spindle-use": z.int(),
});
export type InstanceSpec = z.infer<typeof instanceSpec>;

export const instancePolicy = z.object({
  minmax: z.array(z.object({ min: instanceSpec, max: instanceSpec })),
  std: instanceSpec,
  "disk-templates": z.array(z.enum(DISK_TEMPLATES)),
  "vcpu-ratio": z.number(),
  "spindle-ratio": z.number(),
});
export type InstancePolicy = z.infer<typeof instancePolicy>;

/** A certificate of the cluster's authority, as far as it is remembered. */
export const issuedCertificate = z.object({
  /** In upper-case hexadecimal digits. */
  serial: z.string(),
  /** Seconds since 1970. */
  expires: z.number(),
});

export const cluster = z.object({
  ...stamped,
  uuid: z.string(),
  name: z.string(),
  masterNode: nodeUuid,
  masterIp: z.string(),
  masterNetdev: z.string(),
  masterNetmask: z.int(),
  useExternalMipScript: z.boolean(),
  primaryIpFamily: z.literal([2, 10]),
  highestUsedPort: z.int(),
  tcpudpPortPool: z.array(z.int()),
  macPrefix: z.string(),
  volumeGroupName: z.string(),
  reservedLvs: z.array(z.string()),
  drbdUsermodeHelper: z.string(),
  fileStorageDir: z.string(),
  sharedFileStorageDir: z.string(),
  glusterStorageDir: z.string(),
  enabledHypervisors: z.array(z.enum(HYPERVISORS)),
  enabledDiskTemplates: z.array(z.enum(DISK_TEMPLATES)),
  hvparams: z.partialRecord(z.enum(HYPERVISORS), parameters),
  osHvp: z.record(z.string(), z.partialRecord(z.enum(HYPERVISORS), parameters)),
  beparams: parameters,
  osparams: z.record(z.string(), parameters),
  osparamsPrivate: z.record(z.string(), parameters),
  nicparams: parameters,
  ndparams: parameters,
  diskparams: z.partialRecord(z.enum(DISK_TEMPLATES), parameters),
  ipolicy: instancePolicy,
  hvState: z.record(z.string(), z.unknown()),
  diskState: z.record(z.string(), z.unknown()),
  candidatePoolSize: z.int(),
  modifyEtcHosts: z.boolean(),
  modifySshSetup: z.boolean(),
  maintainNodeHealth: z.boolean(),
  uidPool: z.array(z.tuple([z.int(), z.int()])),
  defaultIallocator: z.string(),
  defaultIallocatorParams: z.record(z.string(), z.unknown()),
  hiddenOs: z.array(z.string()),
  blacklistedOs: z.array(z.string()),
  preallocWipeDisks: z.boolean(),
  /** Opcodes that run at once. A job that waits for locks or for another job is none of them. */
  maxRunningJobs: z.int(),
  /**
   * Of how many jobs Ganeti's daemon watches the files, and polls the others'. Kept and shown, and without effect:
   * here every job's changes come by one stream.
   */
  maxTrackedJobs: z.int(),
  installImage: z.string(),
  zeroingImage: z.string(),
  instanceCommunicationNetwork: z.string(),
  compressionTools: z.array(z.string()),
  enabledUserShutdown: z.boolean(),
  dataCollectors: z.record(z.string(), z.object({ active: z.boolean(), interval: z.int() })),
  sshKeyType: z.enum(["rsa", "dsa", "ecdsa"]),
  sshKeyBits: z.int(),
  /** Whose defaults and value forms the remote API follows (spec/README.md, row 11). */
  rapiDefaults: z.enum(["2.5", "3.1"]),
  /** Reads without credentials are answered, as older Ganeti did. */
  rapiAnonymousReads: z.boolean(),
  /** It was ended by OP_CLUSTER_DESTROY: nothing of it is changed any more. */
  destroyed: z.boolean().default(false),
  /** The certificate authorities that the cluster has changed to; absent: it has the one that it was made with. */
  authority: z
    .object({
      /** PEM, the newest first: all that are trusted; a second one while the cluster changes from one to the other. */
      trusted: z.array(z.string()).min(1),
      /** SHA-256 of the one that issues. */
      issuer: z.string(),
      /** The newest one's key, which only those can open who have the one before. */
      sealedKey: z.string(),
    })
    .optional(),
  /** Certificates that are refused although they have not expired: of nodes that were removed. */
  revokedCertificates: z.array(issuedCertificate.extend({ name: z.string() })).optional(),
  /** Until when the watcher does nothing, in seconds since 1970; absent: it is not paused. */
  watcherPausedUntil: z.number().optional(),
  tags,
});
export type Cluster = z.infer<typeof cluster>;

export const node = z.object({
  ...stamped,
  uuid: nodeUuid,
  name: z.string(),
  primaryIp: z.string(),
  secondaryIp: z.string(),
  group: groupUuid,
  masterCandidate: z.boolean(),
  offline: z.boolean(),
  drained: z.boolean(),
  masterCapable: z.boolean(),
  vmCapable: z.boolean(),
  powered: z.boolean(),
  ndparams: parameters,
  hvState: z.record(z.string(), z.unknown()),
  diskState: z.record(z.string(), z.unknown()),
  /** `host:port` of the node's agent, where it differs from the primary address and the standard port. */
  agentAddress: z.string().optional(),
  /** Those that its daemons have: they are revoked when the node is removed. */
  certificates: z.array(issuedCertificate).optional(),
  tags,
});
export type Node = z.infer<typeof node>;

export const nodeGroup = z.object({
  ...stamped,
  uuid: groupUuid,
  name: z.string(),
  allocPolicy: z.enum(ALLOC_POLICIES),
  ndparams: parameters,
  diskparams: z.partialRecord(z.enum(DISK_TEMPLATES), parameters),
  ipolicy: instancePolicy.partial(),
  /** Networks connected to the group, by UUID, with the NIC parameters of the connection. */
  networks: z.record(z.string(), parameters),
  hvState: z.record(z.string(), z.unknown()),
  diskState: z.record(z.string(), z.unknown()),
  tags,
});
export type NodeGroup = z.infer<typeof nodeGroup>;

export const network = z.object({
  ...stamped,
  uuid: networkUuid,
  name: z.string(),
  macPrefix: z.string().nullable(),
  network: z.string(),
  network6: z.string().nullable(),
  gateway: z.string().nullable(),
  gateway6: z.string().nullable(),
  /** One character an address: `1` reserved, `0` free. */
  reservations: z.string(),
  extReservations: z.string(),
  tags,
});
export type Network = z.infer<typeof network>;

const diskNode = {
  uuid: diskUuid,
  name: z.string().nullable(),
  template: z.enum(DISK_TEMPLATES),
  /** What names the device on its nodes; its shape is the template's (spec/config.json, `logical_id`). */
  logicalId: z.array(z.union([z.string(), z.int()])),
  nodes: z.array(nodeUuid),
  ivName: z.string(),
  sizeMib: z.int().nonnegative(),
  mode: z.enum(["ro", "rw"]),
  spindles: z.int().nullable(),
  params: parameters,
};

/** A device below a disk: a DRBD disk has two, data and metadata. Two levels are all Ganeti has. */
export const childDisk = z.object(diskNode);
export type ChildDisk = z.infer<typeof childDisk>;

export const disk = z.object({ ...stamped, ...diskNode, children: z.array(childDisk) });
export type Disk = z.infer<typeof disk>;

export const nic = z.object({
  uuid: z.string(),
  name: z.string().nullable(),
  mac: z.string(),
  ip: z.string().nullable(),
  network: networkUuid.nullable(),
  /** What the NIC sets itself; the rest comes from its network's connection and the cluster. */
  nicparams: parameters,
});
export type Nic = z.infer<typeof nic>;

export const instance = z.object({
  ...stamped,
  uuid: instanceUuid,
  name: z.string(),
  primaryNode: nodeUuid,
  os: z.string(),
  hypervisor: z.enum(HYPERVISORS),
  hvparams: parameters,
  beparams: parameters,
  osparams: parameters,
  osparamsPrivate: parameters,
  adminState: z.enum(ADMIN_STATES),
  adminStateSource: z.enum(ADMIN_STATE_SOURCES),
  nics: z.array(nic),
  /** UUIDs of its disks, in their order. */
  disks: z.array(diskUuid),
  diskTemplate: z.enum(DISK_TEMPLATES),
  disksActive: z.boolean(),
  networkPort: z.int().nullable(),
  forthcoming: z.boolean(),
  tags,
});
export type Instance = z.infer<typeof instance>;

/** A job filter (spec/jobs.json, `filters`). */
export const filterRule = z.object({
  ...stamped,
  uuid: z.string(),
  watermark: z.int(),
  priority: z.int().nonnegative(),
  predicates: z.array(z.unknown()),
  action: z.union([z.string(), z.array(z.unknown())]),
  /** Times are nanoseconds since 1970: more than `z.int` takes. */
  reasonTrail: z.array(z.tuple([z.string(), z.string(), z.number()])),
});
export type FilterRule = z.infer<typeof filterRule>;

/** Kinds of resources of the remote API, to which a token's rights are given one by one (@gannet/opcodes tells which). */
export const RESOURCE_KINDS = ["cluster", "filters", "groups", "instances", "jobs", "networks", "nodes"] as const;
export type ResourceKind = (typeof RESOURCE_KINDS)[number];

/** A secret by which a program uses the remote API in place of the user who made it. */
export const apiToken = z.object({
  ...stamped,
  /** Its id, which stands in the token itself. */
  uuid: z.string(),
  name: z.string(),
  /** The user of the users file who made it; it never gives more than this user has. */
  owner: z.string(),
  /** Who may write may read. A kind that is not named cannot be reached. */
  rights: z.partialRecord(z.enum(RESOURCE_KINDS), z.enum(["read", "write"])),
  /** Whether it may set parameters that let a node run any program, where its owner may. */
  root: z.boolean(),
  /** SHA-256 of its secret, in base64url. The secret is random, so that nothing slower is needed. */
  digest: z.string(),
  /** Seconds since 1970. */
  expires: z.number(),
  /** Seconds since 1970, to the hour; null: never. */
  lastUsed: z.number().nullable(),
});
export type ApiToken = z.infer<typeof apiToken>;

/** Each kind of row the configuration holds, with its type. */
export interface Entities {
  readonly cluster: Cluster;
  readonly node: Node;
  readonly nodegroup: NodeGroup;
  readonly network: Network;
  readonly instance: Instance;
  readonly disk: Disk;
  readonly filter: FilterRule;
  readonly token: ApiToken;
}
export type EntityKind = keyof Entities;

/** The schema by which a stored row of each kind is parsed. */
export const ENTITY_SCHEMAS = {
  cluster,
  node,
  nodegroup: nodeGroup,
  network,
  instance,
  disk,
  filter: filterRule,
  token: apiToken,
} as const satisfies Record<EntityKind, z.ZodType>;

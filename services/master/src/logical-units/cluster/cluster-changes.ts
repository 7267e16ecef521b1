/** The cluster's row after a change of its parameters. Pure; each part is checked by its own rules. */
import { GannetError, OpPrereqError } from "@gannet/errors";
import {
  type Cluster,
  changedClusterPolicy,
  changedDiskParameters,
  changedDiskState,
  changedHypervisorState,
  changedNodeParameters,
  checkedUidPool,
  defaultsOf,
  inheritedBeparams,
  isImageUrl,
  isNormalizedPath,
  NIC_PARAMETERS,
  normalizeMacPrefix,
  type Parameters,
  updateBackendParameters,
  updateHypervisorParameters,
  updateOsParameters,
  updateParameters,
  withoutUids,
  withUids,
} from "@gannet/objects";
import type { ClusterSetParams, Op } from "@gannet/opcodes";
import { changedOsList } from "./os-list.ts";
import { reservedVolumes } from "./reserved-volumes.ts";

export type SetParamsOp = Op<typeof ClusterSetParams>;

/** A changed row, and what the job's log is to tell of the change. */
export interface ChangedCluster {
  readonly cluster: Cluster;
  readonly notes: readonly string[];
}

/** Parameters that stand in the row as they are given. */
const PLAIN_SETTINGS = {
  vg_name: "volumeGroupName",
  candidate_pool_size: "candidatePoolSize",
  max_running_jobs: "maxRunningJobs",
  max_tracked_jobs: "maxTrackedJobs",
  maintain_node_health: "maintainNodeHealth",
  prealloc_wipe_disks: "preallocWipeDisks",
  drbd_helper: "drbdUsermodeHelper",
  default_iallocator: "defaultIallocator",
  default_iallocator_params: "defaultIallocatorParams",
  master_netdev: "masterNetdev",
  master_netmask: "masterNetmask",
  reserved_lvs: "reservedLvs",
  use_external_mip_script: "useExternalMipScript",
  modify_etc_hosts: "modifyEtcHosts",
  file_storage_dir: "fileStorageDir",
  shared_file_storage_dir: "sharedFileStorageDir",
  gluster_storage_dir: "glusterStorageDir",
  install_image: "installImage",
  zeroing_image: "zeroingImage",
  instance_communication_network: "instanceCommunicationNetwork",
  compression_tools: "compressionTools",
  enabled_user_shutdown: "enabledUserShutdown",
} as const satisfies Partial<Record<keyof SetParamsOp, keyof Cluster>>;

const LONGEST_NETMASK = { 2: 32, 10: 128 } as const;

/**
 * @throws OpPrereqError (wrong_input) or TypeEnforcementError that lists everything that cannot be set so
 */
export function changedCluster(op: SetParamsOp, cluster: Cluster): ChangedCluster {
  const failures: GannetError[] = [];
  /** One part of the change, where it is asked for; what is wrong with it is told with what is wrong with the others. */
  const part = <Asked, Value>(asked: Asked | null, present: Value, change: (asked: Asked) => Value): Value => {
    if (asked === null) return present;
    try {
      return change(asked);
    } catch (error) {
      if (!(error instanceof GannetError)) throw error;
      failures.push(error);
      return present;
    }
  };
  const plain = Object.entries(PLAIN_SETTINGS).flatMap(([parameter, key]) => {
    const value = op[parameter as keyof typeof PLAIN_SETTINGS];
    // The address stays on some interface; Ganeti's clients may send an empty one for "as it is".
    const isAsked = value !== null && !(parameter === "master_netdev" && value === "");
    return isAsked ? [[key, value] as const] : [];
  });
  part(op, undefined, () => checkSettings(op, cluster));
  const hidden = part(op.hidden_os, null, (asked) => changedOsList(cluster.hiddenOs, asked, "hidden_os"));
  const blacklisted = part(op.blacklisted_os, null, (asked) =>
    changedOsList(cluster.blacklistedOs, asked, "blacklisted_os"),
  );
  const changed: Cluster = {
    ...cluster,
    ...(Object.fromEntries(plain) as Partial<Cluster>),
    ...(op.enabled_hypervisors === null ? {} : { enabledHypervisors: [...new Set(op.enabled_hypervisors)] }),
    ...(op.enabled_disk_templates === null ? {} : { enabledDiskTemplates: [...new Set(op.enabled_disk_templates)] }),
    macPrefix: part(op.mac_prefix, cluster.macPrefix, normalizeMacPrefix),
    hvparams: part(op.hvparams, cluster.hvparams, (asked) => changedHvparams(cluster.hvparams, asked)),
    osHvp: part(op.os_hvp, cluster.osHvp, (asked) => changedOsHvp(cluster.osHvp, asked)),
    beparams: part(op.beparams, cluster.beparams, (asked) =>
      updateBackendParameters(cluster.beparams, asked, inheritedBeparams(cluster)),
    ),
    osparams: changedOsparams(cluster.osparams, op.osparams ?? {}),
    osparamsPrivate: changedOsparams(cluster.osparamsPrivate, op.osparams_private_cluster ?? {}),
    nicparams: part(op.nicparams, cluster.nicparams, (asked) => changedNicparams(cluster.nicparams, asked)),
    ndparams: part(op.ndparams, cluster.ndparams, (asked) => changedNodeParameters(cluster.ndparams, asked)),
    diskparams: part(op.diskparams, cluster.diskparams, (asked) => changedDiskParameters(cluster.diskparams, asked)),
    ipolicy: part(op.ipolicy, cluster.ipolicy, (asked) => changedClusterPolicy(cluster.ipolicy, asked)),
    hvState: part(op.hv_state, cluster.hvState, (asked) => changedHypervisorState(cluster.hvState, asked)),
    diskState: part(op.disk_state, cluster.diskState, (asked) => changedDiskState(cluster.diskState, asked)),
    uidPool: part(op, cluster.uidPool, () => changedUidPool(cluster.uidPool, op)),
    dataCollectors: part(op, cluster.dataCollectors, () => changedCollectors(cluster.dataCollectors, op)),
    hiddenOs: hidden?.names ?? cluster.hiddenOs,
    blacklistedOs: blacklisted?.names ?? cluster.blacklistedOs,
  };
  throwTogether(failures);
  return { cluster: changed, notes: [...(hidden?.notes ?? []), ...(blacklisted?.notes ?? [])] };
}

/** One failure keeps its class. */
function throwTogether(failures: readonly GannetError[]): void {
  const [first, ...others] = failures;
  if (first === undefined) return;
  if (others.length === 0) throw first;
  throw new OpPrereqError(failures.map(({ message }) => message).join("; "), "wrong_input");
}

function checkSettings(op: SetParamsOp, cluster: Cluster): void {
  const longest = LONGEST_NETMASK[cluster.primaryIpFamily];
  if (op.master_netmask !== null && (op.master_netmask < 1 || op.master_netmask > longest))
    throw new OpPrereqError(`master_netmask ${op.master_netmask} must be between 1 and ${longest}`, "wrong_input");
  for (const name of ["install_image", "zeroing_image"] as const) {
    const image = op[name];
    if (image && !isNormalizedPath(image) && !isImageUrl(image))
      throw new OpPrereqError(`${name} '${image}' must be an absolute path or a URL`, "wrong_input");
  }
  for (const pattern of op.reserved_lvs ?? []) reservedVolumes(pattern);
  if (op.compression_tools?.includes("none"))
    throw new OpPrereqError("compression_tools: 'none' always means no compression; it names no tool", "wrong_input");
}

function changedHvparams(current: Cluster["hvparams"], changes: Cluster["hvparams"]): Cluster["hvparams"] {
  const next = { ...current };
  for (const [name, values] of Object.entries(changes)) {
    const hypervisor = name as keyof Cluster["hvparams"];
    next[hypervisor] = updateHypervisorParameters(hypervisor, current[hypervisor] ?? {}, values);
  }
  return next;
}

/** As with OS parameters: an OS without any is in the row no longer. */
function changedOsHvp(current: Cluster["osHvp"], changes: Cluster["osHvp"]): Cluster["osHvp"] {
  const next = { ...current };
  for (const [os, values] of Object.entries(changes)) {
    const changed = changedHvparams(current[os] ?? {}, values);
    const own = Object.entries(changed).filter(([, parameters]) => Object.keys(parameters).length > 0);
    if (own.length === 0) delete next[os];
    else next[os] = Object.fromEntries(own);
  }
  return next;
}

/** An OS without any parameters of its own is in the row no longer. */
function changedOsparams(
  current: Readonly<Record<string, Parameters>>,
  changes: Readonly<Record<string, Parameters>>,
): Record<string, Parameters> {
  const next: Record<string, Parameters> = { ...current };
  for (const [os, values] of Object.entries(changes)) {
    const own = updateOsParameters(current[os] ?? {}, values);
    if (Object.keys(own).length === 0) delete next[os];
    else next[os] = own;
  }
  return next;
}

/** A NIC's description can say more than a cluster sets for all of them; `bridge` is the older name of `link`. */
function changedNicparams(current: Parameters, { bridge, ...given }: NonNullable<SetParamsOp["nicparams"]>) {
  const asked = { ...(bridge == null ? {} : { link: bridge }), ...given };
  const changes = Object.fromEntries(Object.entries(asked).filter(([, value]) => value != null));
  return { ...defaultsOf(NIC_PARAMETERS), ...updateParameters("NIC parameter", NIC_PARAMETERS, current, changes) };
}

function changedUidPool(current: Cluster["uidPool"], op: SetParamsOp): Cluster["uidPool"] {
  const set = op.uid_pool === null ? current : checkedUidPool(op.uid_pool);
  const extended = op.add_uids === null ? set : withUids(set, op.add_uids);
  return op.remove_uids === null ? extended : withoutUids(extended, op.remove_uids);
}

function changedCollectors(current: Cluster["dataCollectors"], op: SetParamsOp): Cluster["dataCollectors"] {
  const next = { ...current };
  const collector = (name: string) => {
    const known = Object.hasOwn(next, name) ? next[name] : undefined;
    if (known !== undefined) return known;
    throw new OpPrereqError(
      `Data collector '${name}' is not known; there are ${Object.keys(current).join(", ")}`,
      "wrong_input",
    );
  };
  for (const [name, active] of Object.entries(op.enabled_data_collectors ?? {}))
    next[name] = { ...collector(name), active };
  for (const [name, interval] of Object.entries(op.data_collector_interval ?? {})) {
    if (interval <= 0)
      throw new OpPrereqError(`The interval of data collector '${name}' must be above 0 microseconds`, "wrong_input");
    next[name] = { ...collector(name), interval };
  }
  return next;
}

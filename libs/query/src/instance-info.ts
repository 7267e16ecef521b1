/** What OP_INSTANCE_QUERY_DATA tells of one instance: everything, from the configuration or from its nodes too. */
import type { ChildDisk, ConfigView, Disk, DiskUuid, Instance, Network, Parameters } from "@gannet/objects";
import { filledHvparams, withoutGlobals } from "@gannet/objects";
import type { FilledNic } from "./fields/instance-context.ts";
import { InstanceContext } from "./fields/instance-context.ts";
import type { LiveValues } from "./live-values.ts";

/**
 * State of a disk on one node: `[path, major, minor, sync percent, estimated seconds, degraded, local disk
 * status]`; null where a number is not known.
 */
export type DiskStatus = readonly [
  path: string,
  major: number | null,
  minor: number | null,
  syncPercent: number | null,
  estimatedSeconds: number | null,
  isDegraded: boolean,
  localDiskStatus: number,
];

/** What was asked of the instance's nodes for its disks; a disk that is not there gets null. */
export interface DiskStatuses {
  readonly primary: ReadonlyMap<DiskUuid, DiskStatus>;
  readonly secondary: ReadonlyMap<DiskUuid, DiskStatus>;
}

/** Live values for {@link instanceInfo}; without them it is the static kind. */
export interface LiveInstanceInfo {
  readonly live: LiveValues;
  readonly disks: DiskStatuses;
}

const NOTHING_LIVE: LiveValues = { node: () => undefined, instance: () => undefined, console: () => undefined };
const NO_STATUSES: DiskStatuses = { primary: new Map(), secondary: new Map() };

/**
 * @param now - what its nodes say; null for a static answer, whose live values are null
 */
export function instanceInfo(
  instance: Instance,
  view: ConfigView,
  now: LiveInstanceInfo | null,
): Readonly<Record<string, unknown>> {
  const context = new InstanceContext(instance, view, now?.live ?? NOTHING_LIVE);
  const { primary, primaryGroup, secondaries, secondaryGroups } = context;
  const hvparams: Parameters = withoutGlobals(filledHvparams(view.cluster, instance));
  const statuses = now?.disks ?? NO_STATUSES;
  return {
    name: instance.name,
    config_state: instance.adminState,
    run_state: now === null ? null : runState(context),
    pnode: primary?.name ?? null,
    pnode_group_uuid: primary?.group ?? null,
    pnode_group_name: primaryGroup?.name ?? null,
    snodes: secondaries.map(({ name }) => name),
    snodes_group_uuids: secondaryGroups.map(({ uuid }) => uuid),
    snodes_group_names: secondaryGroups.map(({ name }) => name),
    os: instance.os,
    nics: context.nics.map(nicInfo),
    disk_template: instance.diskTemplate,
    disks: context.disks.map((disk) => diskInfo(disk, disk.children, view, statuses)),
    hypervisor: instance.hypervisor,
    network_port: instance.networkPort,
    hv_instance: instance.hvparams,
    hv_actual: hvparams,
    be_instance: instance.beparams,
    be_actual: context.beparams,
    os_instance: instance.osparams,
    os_actual: context.osparams,
    serial_no: instance.serialNo,
    mtime: instance.mtime,
    ctime: instance.ctime,
    uuid: instance.uuid,
  };
}

/** `up`, `down`, or what the operator wants where that is neither; null when the node is offline. */
function runState(context: InstanceContext): string | null {
  const { instance } = context;
  if (context.primary?.offline) return null;
  if (context.isRunning) return "up";
  if (context.status === "USER_down") return "user down";
  return instance.adminState === "up" ? "down" : instance.adminState;
}

/** `[name, uuid, ip, mac, mode, link, vlan, network's UUID, network]` */
function nicInfo({ nic, mode, link, vlanText, network }: FilledNic): readonly unknown[] {
  return [nic.name, nic.uuid, nic.ip, nic.mac, mode, link, vlanText, nic.network, networkInfo(network)];
}

function networkInfo(network: Network | undefined): Readonly<Record<string, unknown>> | null {
  if (network === undefined) return null;
  return {
    name: network.name,
    uuid: network.uuid,
    network: network.network,
    gateway: network.gateway,
    network6: network.network6,
    gateway6: network.gateway6,
    mac_prefix: network.macPrefix,
    serial_no: network.serialNo,
    ctime: network.ctime,
    mtime: network.mtime,
    tags: network.tags,
  };
}

function diskInfo(
  disk: Disk | ChildDisk,
  children: readonly ChildDisk[],
  view: ConfigView,
  statuses: DiskStatuses,
): Readonly<Record<string, unknown>> {
  return {
    iv_name: disk.ivName,
    dev_type: disk.template,
    logical_id: shownLogicalId(disk),
    drbd_info: drbdInfo(disk, view),
    pstatus: statuses.primary.get(disk.uuid) ?? null,
    sstatus: statuses.secondary.get(disk.uuid) ?? null,
    children: children.map((child) => diskInfo(child, [], view, statuses)),
    mode: disk.mode,
    size: disk.sizeMib,
    spindles: disk.spindles,
    name: disk.name,
    uuid: disk.uuid,
  };
}

/** The last part of a DRBD disk's logical id is the secret that its nodes share. */
function shownLogicalId({ template, logicalId }: ChildDisk): readonly (string | number | null)[] {
  return template === "drbd" ? [...logicalId.slice(0, -1), null] : logicalId;
}

function drbdInfo({ template, logicalId }: ChildDisk, view: ConfigView): Readonly<Record<string, unknown>> | null {
  if (template !== "drbd") return null;
  const [nodeA, nodeB, port, minorA, minorB] = logicalId;
  const nameOf = (uuid: unknown) => view.findNode(String(uuid))?.name ?? null;
  return {
    primary_node: nameOf(nodeA),
    primary_minor: minorA,
    secondary_node: nameOf(nodeB),
    secondary_minor: minorB,
    port,
  };
}

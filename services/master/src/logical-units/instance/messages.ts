/** An instance of the configuration as the messages its agents are sent, with every inherited parameter filled in. */
import { ConfigurationError } from "@gannet/errors";
import {
  type ChildDisk,
  type ConfigView,
  type Disk,
  drbdIdOf,
  filledBeparams,
  filledDiskparams,
  filledHvparams,
  filledOsparams,
  filledPrivateOsparams,
  type Instance,
  isCommunicationNic,
  isIpv4,
  type Network,
  type NodeUuid,
  nicparamsOf,
  type Parameters,
} from "@gannet/objects";
import {
  type BlockDevice,
  type DrbdLink,
  encodeParameters,
  type GuestMetadata,
  type Instance as InstanceMessage,
  type Network as NetworkMessage,
  type Nic,
} from "@gannet/rpc";

import { hasExclusiveStorage } from "./exclusive-storage.ts";

/** Whose disk it is: an instance's row, or what is to become one. */
export type DiskOwner = Pick<Instance, "name" | "primaryNode">;

/**
 * One disk of an instance, as the agent of one node knows it. A DRBD disk is described from that node's end.
 * @param index - the disk's place among the instance's
 * @throws ConfigurationError when the node holds no end of a DRBD disk
 */
export function blockDeviceMessage(
  view: ConfigView,
  instance: DiskOwner,
  disk: Disk | ChildDisk,
  index: number,
  node: NodeUuid,
): BlockDevice {
  // A file keeps the format in which it was made, which is the disk's own (ownParameters in planned-disks.ts).
  const { format: _ofNewDisks, ...inherited } = diskparamsOf(view, instance, disk);
  const children = "children" in disk ? disk.children : [];
  return {
    uuid: disk.uuid,
    template: disk.template,
    logicalId: publicLogicalId(disk),
    sizeMib: disk.sizeMib,
    mode: disk.mode,
    instanceName: instance.name,
    index,
    params: encodeParameters({ ...inherited, ...disk.params, ...exclusiveStorage(view, disk, node) }),
    children: children.map((child, position) => {
      const message = blockDeviceMessage(view, instance, child, index, node);
      const stripes = disk.template === "drbd" ? inherited[DRBD_STRIPES[position] ?? ""] : undefined;
      return stripes === undefined
        ? message
        : { ...message, params: { ...message.params, ...encodeParameters({ stripes }) } };
    }),
    name: disk.name ?? undefined,
    link: disk.template === "drbd" ? linkOf(view, disk, node) : undefined,
  };
}

/** Which of a DRBD disk's parameters says how many stripes its data and its metadata volume have. */
const DRBD_STRIPES = ["data-stripes", "meta-stripes"] as const;

/** What makes a disk take whole physical volumes, on nodes where it has to. */
function exclusiveStorage(view: ConfigView, { template, spindles }: ChildDisk, node: NodeUuid): Parameters {
  if (template !== "plain" || !hasExclusiveStorage(view, node)) return {};
  return { exclusive_storage: true, ...(spindles === null ? {} : { spindles }) };
}

/** The disk as it may be written down: an undo list is kept in the job's record, where no secret may be. */
export function withoutSecret(device: BlockDevice): BlockDevice {
  return device.link === undefined ? device : { ...device, link: { ...device.link, secret: "" } };
}

/** Everything a disk inherits where its instance is; ports and minors of DRBD are no parameters. */
function diskparamsOf(view: ConfigView, { primaryNode }: DiskOwner, { template }: ChildDisk): Parameters {
  const node = view.nodes.get(primaryNode);
  const group = node === undefined ? null : (view.groups.get(node.group) ?? null);
  return filledDiskparams(view.cluster, group, template);
}

/** The secret of a DRBD disk travels in its link alone. */
function publicLogicalId({ template, logicalId }: ChildDisk): string[] {
  return (template === "drbd" ? logicalId.slice(0, -1) : logicalId).map(String);
}

function linkOf(view: ConfigView, disk: ChildDisk, node: NodeUuid): DrbdLink {
  const { nodes, minors, port, secret } = drbdIdOf(disk);
  const [local, peer] = nodes[0] === node ? ([0, 1] as const) : ([1, 0] as const);
  if (nodes[local] !== node) throw new ConfigurationError(`Node ${node} holds no end of disk ${disk.uuid}`);
  const addressOf = (uuid: NodeUuid): string => {
    const address = view.nodes.get(uuid)?.secondaryIp;
    if (address === undefined) throw new ConfigurationError(`Disk ${disk.uuid} is on an unknown node, ${uuid}`);
    return address;
  };
  return {
    localAddress: addressOf(nodes[local]),
    localMinor: minors[local],
    peerAddress: addressOf(nodes[peer]),
    peerMinor: minors[peer],
    port,
    secret,
  };
}

/**
 * @param node - whose agent is told; its disks are described as they are there
 */
export function instanceMessage(
  view: ConfigView,
  instance: Instance,
  node: NodeUuid = instance.primaryNode,
): InstanceMessage {
  const beparams = filledBeparams(view.cluster, instance);
  const hvparams = filledHvparams(view.cluster, instance);
  return {
    name: instance.name,
    uuid: instance.uuid,
    hypervisor: instance.hypervisor,
    maxMemoryMib: Number(beparams.maxmem),
    startMemoryMib: Number(beparams.maxmem),
    vcpus: Number(beparams.vcpus),
    disks: view.disksOf(instance).map((disk, index) => blockDeviceMessage(view, instance, disk, index, node)),
    nics: instance.nics.map((nic): Nic => {
      const params = nicparamsOf(view, instance, nic);
      const network = nic.network === null ? undefined : view.networks.get(nic.network);
      return {
        uuid: nic.uuid,
        name: nic.name ?? "",
        mac: nic.mac,
        ip: nic.ip ?? "",
        mode: String(params.mode),
        link: String(params.link),
        vlan: String(params.vlan ?? ""),
        network: network === undefined ? undefined : networkMessage(network),
        metadata: isForMetadata(view, nic) ? metadataMessage(view, instance) : undefined,
      };
    }),
    hvparams: encodeParameters(hvparams),
    networkPort: instance.networkPort ?? 0,
    tags: [...instance.tags],
    uidPool: view.cluster.uidPool.map(([first, last]) => ({ first, last })),
  };
}

/** A name alone, which anybody may give, does not make it the NIC of the network where a guest's address is its own. */
function isForMetadata(view: ConfigView, nic: Instance["nics"][number]): boolean {
  const name = view.cluster.instanceCommunicationNetwork;
  const isInNetwork = name !== "" && nic.network === view.findNetwork(name)?.uuid;
  return isInNetwork && isCommunicationNic(nic) && isIpv4(nic.ip ?? "");
}

function metadataMessage(view: ConfigView, instance: Instance): GuestMetadata {
  return {
    uuid: instance.uuid,
    os: instance.os,
    publicParameters: parameterTexts(filledOsparams(view.cluster, instance)),
    privateParameters: parameterTexts(filledPrivateOsparams(view.cluster, instance)),
  };
}

/** OS parameters as scripts and guests read them. */
export function parameterTexts(parameters: Parameters): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [name, value === null ? "" : String(value)]),
  );
}

function networkMessage(network: Network): NetworkMessage {
  return {
    uuid: network.uuid,
    name: network.name,
    subnet: network.network,
    gateway: network.gateway ?? "",
    subnet6: network.network6 ?? "",
    gateway6: network.gateway6 ?? "",
    macPrefix: network.macPrefix ?? "",
    tags: [...network.tags],
  };
}

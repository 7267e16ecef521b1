/** What the nodes of a group are asked for its verification. Changes nothing. */
import { GannetError, NodeUnreachable } from "@gannet/errors";
import {
  type ConfigView,
  filledHvparams,
  filledNdparams,
  filledNicparams,
  type Instance,
  inheritedHvparams,
  isIpv4,
  isIpv6,
  type Node,
  type NodeGroup,
  nicparamsOf,
} from "@gannet/objects";
import type { DescribeDrbdReply, NodeState, StorageUnit, StorageVolume, VerifyNodeReply } from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";
import { agentAddress } from "../../nodes/node-directory.ts";
import { type InspectedDisk, inspectDisks } from "../group/disk-inspection.ts";
import { hasExclusiveStorage } from "../instance/exclusive-storage.ts";
import { instanceMessage } from "../instance/messages.ts";
import { agentOf, portOf } from "../node/agent-checks.ts";

/** A node's answers; one that cannot be asked has a failure in place of them. */
export type NodeEvidence = { readonly node: Node } & (
  | { readonly failure: string }
  | ({ readonly failure: null } & NodeAnswers)
);

export interface NodeAnswers {
  readonly state: NodeState;
  readonly verified: VerifyNodeReply;
  /** Files that it was asked for in {@link NodeAnswers.verified}. */
  readonly filesAsked: readonly string[];
  /** Milliseconds since 1970 by the master's clock, before and after {@link NodeAnswers.verified} was asked. */
  readonly askedAtMs: readonly [before: number, after: number];
  /** Names of other nodes whose agents it does not reach. */
  readonly unreached: readonly string[];
  /** Names of other nodes whose own addresses for replication it does not reach from its own. */
  readonly unreachedSecondaries: readonly string[];
  /** Whether it reaches the cluster's own address. */
  readonly reachesMasterIp: boolean;
  /** Null where the cluster has no use for DRBD; for volumes likewise, and for physical volumes. */
  readonly drbd: DescribeDrbdReply | null;
  readonly volumes: readonly StorageVolume[] | null;
  readonly physicalVolumes: readonly StorageUnit[] | null;
  readonly disks: readonly InspectedDisk[];
  /** What it does not take of hypervisor parameters. */
  readonly refusedHvparams: readonly { readonly source: string; readonly problem: string }[];
}

/** What is asked beside what everything needs. */
export interface EvidenceOptions {
  /** Whether each instance's hypervisor parameters are looked at on its nodes. */
  readonly hvparams: boolean;
}

/** Instances, one of which stands for all with the same parameters. */
const PARAMETER_CHECKS_AT_ONCE = 8;
/** What the agent takes in one request. */
const MOST_PEERS = 1000;

/**
 * Ask a node.
 * @param instances - of the group; their disks on the node are looked at
 */
export async function nodeEvidence(
  ctx: PrereqContext,
  node: Node,
  instances: readonly Instance[],
  options: EvidenceOptions,
): Promise<NodeEvidence> {
  try {
    return { node, failure: null, ...(await answersOf(ctx, node, instances, options)) };
  } catch (error) {
    ctx.signal.throwIfAborted();
    if (!(error instanceof GannetError)) throw error;
    return { node, failure: error.message };
  }
}

async function answersOf(
  ctx: PrereqContext,
  node: Node,
  instances: readonly Instance[],
  { hvparams }: EvidenceOptions,
): Promise<NodeAnswers> {
  const view = ctx.config;
  const { node: itself, storage } = ctx.node(node.uuid);
  const { signal } = ctx;
  const { enabledDiskTemplates: templates, volumeGroupName } = view.cluster;
  const usesDrbd = node.vmCapable && templates.includes("drbd");
  const usesLvm = node.vmCapable && volumeGroupName !== "";
  const before = Date.now();
  const asked = verifyRequest(view, node);
  const [verified, state, addresses, unreachedSecondaries, drbd, volumes, units, disks, refusedHvparams] =
    await Promise.all([
      itself.verify(asked, { signal }).then((reply) => ({ reply, after: Date.now() })),
      itself.describe({ knownStorage: false }, { signal }),
      unreachedPeers(ctx, node),
      unreachedReplicationPeers(ctx, node),
      usesDrbd ? storage.describeDrbd({}, { signal }) : null,
      usesLvm ? storage.listVolumes({}, { signal }) : null,
      hasExclusiveStorage(view, node.uuid) ? storage.listUnits({ type: "lvm-pv" }, { signal }) : null,
      inspectDisks(ctx, node, instances),
      hvparams && node.vmCapable ? refusedParameters(ctx, node) : [],
    ]);
  return {
    state,
    verified: verified.reply,
    filesAsked: asked.files,
    askedAtMs: [before, verified.after],
    unreached: addresses.nodes,
    unreachedSecondaries,
    reachesMasterIp: addresses.masterIp,
    drbd,
    volumes: volumes?.volumes ?? null,
    physicalVolumes: units?.units.filter(({ name }) => name !== "") ?? null,
    disks,
    refusedHvparams,
  };
}

function verifyRequest(view: ConfigView, node: Node) {
  const { cluster } = view;
  const folders = [
    { template: "file", path: cluster.fileStorageDir },
    { template: "sharedfile", path: cluster.sharedFileStorageDir },
    { template: "gluster", path: cluster.glusterStorageDir },
  ] as const;
  const isUsed = ({ template, path }: (typeof folders)[number]) =>
    path !== "" && node.vmCapable && cluster.enabledDiskTemplates.includes(template);
  return {
    files: node.vmCapable ? passwordFiles(view) : [],
    executables: node.uuid === cluster.masterNode ? oobPrograms(view) : [],
    bridges: bridgesOf(view, node),
    fileStorage: folders.filter(isUsed),
    masterAddressScript: cluster.useExternalMipScript && node.masterCapable,
    allocators: [],
  };
}

/** Hypervisor parameters that name a file which a guest must find on every node it comes to. */
const PASSWORD_FILES = ["vnc_password_file", "spice_password_file"] as const;

function passwordFiles({ cluster }: ConfigView): string[] {
  const files = cluster.enabledHypervisors.flatMap((name) => {
    const parameters = inheritedHvparams(cluster, name, null);
    return PASSWORD_FILES.map((parameter) => String(parameters[parameter] ?? ""));
  });
  return [...new Set(files.filter((file) => file.startsWith("/")))].sort();
}

/** They run on the master. */
function oobPrograms(view: ConfigView): string[] {
  const programs = [...view.nodes.values()].flatMap((node) => {
    const group: NodeGroup | undefined = view.groups.get(node.group);
    return group === undefined ? [] : String(filledNdparams(view.cluster, group, node).oob_program ?? "");
  });
  return [...new Set(programs.filter((program) => program !== ""))];
}

const BRIDGE_MODES: readonly unknown[] = ["bridged", "openvswitch"];

/** What NICs would be connected to on the node: those of its instances, and one that sets nothing itself. */
function bridgesOf(view: ConfigView, node: Node): string[] {
  const standard = node.vmCapable ? [filledNicparams(view.cluster, undefined, {})] : [];
  const own = instancesOn(view, node)
    .flatMap(({ nics }) => nics)
    .map((nic) => nicparamsOf(view, { primaryNode: node.uuid }, nic));
  const links = [...standard, ...own].filter(({ mode }) => BRIDGE_MODES.includes(mode)).map(({ link }) => String(link));
  return [...new Set(links)].sort();
}

/** Those that have a disk there, too: a failover brings them. */
function instancesOn(view: ConfigView, { uuid }: Node): readonly Instance[] {
  return [...view.primaryInstances(uuid), ...view.secondaryInstances(uuid)];
}

/** Whatever listens there: a machine that refuses the connection is reached. */
const PROBED_PORT = 1811;

async function unreachedPeers(
  ctx: PrereqContext,
  node: Node,
): Promise<{ readonly nodes: readonly string[]; readonly masterIp: boolean }> {
  const peers = onlinePeers(ctx.config, node).flatMap((other): Peer | readonly [] => {
    const whole = agentAddress(other);
    const address = whole.slice(0, whole.lastIndexOf(":")).replace(/^\[|\]$/g, "");
    return isIpv4(address) || isIpv6(address) ? { name: other.name, address, port: portOf(agentOf(other)) } : [];
  });
  const master = { name: "", address: ctx.config.cluster.masterIp, port: PROBED_PORT };
  const silent = await silentPeers(ctx, node, { peers: [master, ...peers], from: "" });
  return {
    nodes: silent.filter((peer) => peer !== master).map(({ name }) => name),
    masterIp: !silent.includes(master),
  };
}

/** From the node's own address for replication, as its mirrors connect. */
async function unreachedReplicationPeers(ctx: PrereqContext, node: Node): Promise<readonly string[]> {
  const peers = onlinePeers(ctx.config, node)
    .filter(({ primaryIp, secondaryIp }) => secondaryIp !== primaryIp)
    .map((other): Peer => ({ name: other.name, address: other.secondaryIp, port: portOf(agentOf(other)) }));
  if (peers.length === 0) return [];
  const silent = await silentPeers(ctx, node, { peers, from: node.secondaryIp });
  return silent.map(({ name }) => name);
}

interface Peer {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

/** The other nodes of a node's group that are to answer. */
function onlinePeers(view: ConfigView, { uuid, group }: Node): readonly Node[] {
  return view.nodesOf(group).filter((other) => other.uuid !== uuid && !other.offline);
}

/** Those of the peers, in their order, that do not answer the node. */
async function silentPeers<P extends Peer>(
  ctx: PrereqContext,
  { uuid }: Node,
  { peers, from }: { readonly peers: readonly P[]; readonly from: string },
): Promise<readonly P[]> {
  const asked = peers.slice(0, MOST_PEERS).map(({ address, port }) => ({ address, port }));
  const { silent } = await ctx.node(uuid).node.checkAddresses({ own: [], peers: asked, from }, { signal: ctx.signal });
  return peers.filter(({ address, port }) => silent.some((peer) => peer.address === address && peer.port === port));
}

/** Guests without devices, one for each set of parameters that instances on the node have. */
async function refusedParameters(ctx: PrereqContext, node: Node): Promise<NodeAnswers["refusedHvparams"]> {
  const view = ctx.config;
  const byParameters = new Map<string, Instance>();
  for (const instance of instancesOn(view, node)) {
    const key = JSON.stringify([instance.hypervisor, filledHvparams(view.cluster, instance)]);
    if (!byParameters.has(key)) byParameters.set(key, instance);
  }
  const waiting = [...byParameters.values()];
  const refused: { readonly source: string; readonly problem: string }[] = [];
  const work = async () => {
    for (let instance = waiting.shift(); instance !== undefined; instance = waiting.shift()) {
      const message = instanceMessage(view, { ...instance, nics: [], disks: [] });
      try {
        await ctx.node(node.uuid).instances.validate({ instance: message }, { signal: ctx.signal });
      } catch (error) {
        if (error instanceof NodeUnreachable || !(error instanceof GannetError)) throw error;
        refused.push({ source: `instance ${instance.name}`, problem: error.message });
      }
    }
  };
  await Promise.all(Array.from({ length: PARAMETER_CHECKS_AT_ONCE }, work));
  return refused;
}

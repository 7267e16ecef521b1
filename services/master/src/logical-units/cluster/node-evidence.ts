/** What the nodes of a group are asked for its verification. Changes nothing. */
import { GannetError, NodeUnreachable } from "@gannet/errors";
import {
  type ConfigView,
  filledHvparams,
  filledNdparams,
  type Instance,
  inheritedHvparams,
  isIpv4,
  isIpv6,
  type Node,
  type NodeGroup,
  nicparamsOf,
} from "@gannet/objects";
import type {
  CheckAddressesReply,
  DescribeDrbdReply,
  NodeState,
  StorageUnit,
  StorageVolume,
  VerifyNodeReply,
} from "@gannet/rpc";
import type { PrereqContext } from "../../executor/context.ts";
import { agentAddress } from "../../nodes/node-directory.ts";
import { type InspectedDisk, inspectDisks } from "../group/disk-inspection.ts";
import { hasExclusiveStorage } from "../instance/exclusive-storage.ts";
import { instanceMessage } from "../instance/messages.ts";

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
  /** Whether each instance's hypervisor parameters are looked at on its node. */
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
  const [verified, state, addresses, drbd, volumes, units, disks, refusedHvparams] = await Promise.all([
    itself.verify(asked, { signal }).then((reply) => ({ reply, after: Date.now() })),
    itself.describe({ knownStorage: false }, { signal }),
    unreachedPeers(ctx, node),
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

/** What NICs of the node's instances are connected to. */
function bridgesOf(view: ConfigView, node: Node): string[] {
  const links = view.primaryInstances(node.uuid).flatMap((instance) =>
    instance.nics.flatMap((nic) => {
      const { mode, link } = nicparamsOf(view, instance, nic);
      return mode === "bridged" || mode === "openvswitch" ? String(link) : [];
    }),
  );
  return [...new Set(links)].sort();
}

/** Whatever listens there: a machine that refuses the connection is reached. */
const PROBED_PORT = 1811;

async function unreachedPeers(
  ctx: PrereqContext,
  node: Node,
): Promise<{ readonly nodes: readonly string[]; readonly masterIp: boolean }> {
  const others = ctx.config.nodesOf(node.group).filter(({ uuid, offline }) => uuid !== node.uuid && !offline);
  const peers = others.flatMap((other) => {
    const whole = agentAddress(other);
    const colon = whole.lastIndexOf(":");
    const address = whole.slice(0, colon).replace(/^\[|\]$/g, "");
    return isIpv4(address) || isIpv6(address) ? { other, address, port: Number(whole.slice(colon + 1)) } : [];
  });
  const master = { address: ctx.config.cluster.masterIp, port: PROBED_PORT };
  const request = {
    own: [],
    peers: [master, ...peers.slice(0, MOST_PEERS - 1).map(({ address, port }) => ({ address, port }))],
    from: "",
  };
  const { silent }: CheckAddressesReply = await ctx
    .node(node.uuid)
    .node.checkAddresses(request, { signal: ctx.signal });
  const isSilent = (address: string, port: number) =>
    silent.some((peer) => peer.address === address && peer.port === port);
  return {
    nodes: peers.filter(({ address, port }) => isSilent(address, port)).map(({ other }) => other.name),
    masterIp: !isSilent(master.address, master.port),
  };
}

/** Guests without devices, one for each set of parameters that instances of the node have. */
async function refusedParameters(ctx: PrereqContext, node: Node): Promise<NodeAnswers["refusedHvparams"]> {
  const view = ctx.config;
  const byParameters = new Map<string, Instance>();
  for (const instance of view.primaryInstances(node.uuid)) {
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

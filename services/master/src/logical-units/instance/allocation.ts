/** A new instance whose nodes an allocator chooses. */
import type { AllocatorNic, NewInstanceRequest } from "@gannet/allocator";
import { OpPrereqError } from "@gannet/errors";
import type { LockCandidates, LockWish } from "@gannet/locking";
import { type ConfigView, DISK_TEMPLATE_TRAITS, diskUsageMib, type Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import type { PrereqContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { type NewInstance, newInstance, usableTemplate } from "./create-plan.ts";

type CreateOp = Op<typeof InstanceCreate>;

/** Whether the request leaves the choice of nodes to an allocator; what was reserved has them. */
export function isAllocated(op: CreateOp): boolean {
  return !op.pnode && !op.pnode_uuid && !op.commit;
}

/** Only those nodes are locked that nobody else has just now. */
function isOpportunistic(op: CreateOp): boolean {
  // Of an import all nodes may have the export, and are locked to be asked for it.
  return isAllocated(op) && op.opportunistic_locking && op.mode !== "import";
}

/** Locks of everything that the allocator may choose, but for what {@link allocationCandidates} names. */
export function allocationLocks(op: CreateOp, view: ConfigView): readonly LockWish[] {
  const groups = op.group_name ? [view.findGroup(op.group_name)] : [...view.groups.values()];
  const nodes = isOpportunistic(op) ? [] : choosableNodes(op, view);
  return [
    ...groups.flatMap((group) => (group === undefined ? [] : shared.nodegroup(group.uuid))),
    ...nodes.flatMap(({ uuid }) => [exclusive.node(uuid), exclusive.nodeRes(uuid)]),
  ];
}

/** Of these nodes those that are free just now will do, if there are as many as the instance needs. */
export function allocationCandidates(op: CreateOp, view: ConfigView): LockCandidates | undefined {
  if (!isOpportunistic(op)) return undefined;
  const nodes = choosableNodes(op, view);
  const template = op.disk_template ?? view.cluster.enabledDiskTemplates[0];
  const atLeast = template !== undefined && DISK_TEMPLATE_TRAITS[template].needsSecondary ? 2 : 1;
  // Too few to ever be enough: the allocator says so.
  if (nodes.length < atLeast) return undefined;
  return { levels: ["node", "node-res"], names: nodes.map(({ uuid }) => uuid), mode: "exclusive", atLeast };
}

function choosableNodes(op: CreateOp, view: ConfigView): readonly Node[] {
  const group = op.group_name ? view.findGroup(op.group_name) : undefined;
  return [...view.nodes.values()].filter(
    (node) =>
      !node.offline &&
      !node.drained &&
      node.vmCapable &&
      (!op.group_name || (group !== undefined && node.group === group.uuid)),
  );
}

/**
 * The request with the nodes that the allocator chose; as it was where it names them itself.
 * @throws OpPrereqError: wrong_input when both or neither are named; insufficient_resources, with the allocator's
 *   reasons, when there is no place, or temp_insufficient_resources when nodes that others have were left out
 */
export async function withAllocatedNodes(ctx: PrereqContext, op: CreateOp): Promise<CreateOp> {
  checkChoice(op);
  if (!isAllocated(op)) return op;
  const allocator = allocatorChoice(ctx.config, op.iallocator);
  const template = usableTemplate(ctx.config, op.disk_template ?? null);
  const [primary, secondary] = await askAllocator(ctx, {
    allocator,
    request: { type: "allocate", ...(await newInstanceRequest(ctx, op)) },
    storageType: DISK_TEMPLATE_TRAITS[template].storageType,
  });
  return { ...op, iallocator: null, pnode: primary ?? null, snode: secondary ?? null };
}

function checkChoice(op: CreateOp): void {
  const named = Boolean(op.pnode || op.pnode_uuid || op.snode || op.snode_uuid);
  if (named && op.iallocator)
    throw new OpPrereqError("Name either the nodes or an allocator (iallocator), not both", "wrong_input");
  if (named && isAllocated(op))
    throw new OpPrereqError("A secondary node was named, and no primary node", "wrong_input");
  if (op.opportunistic_locking && !op.iallocator)
    throw new OpPrereqError("Opportunistic locking is for requests that name an allocator (iallocator)", "wrong_input");
  if (isAllocated(op) && op.disks.some(({ adopt }) => adopt != null))
    throw new OpPrereqError("Disks are adopted where they are: name the node instead of an allocator", "wrong_input");
}

/** What an allocator is told of a new instance. @throws OpPrereqError or another of the taxonomy when it cannot be */
export async function newInstanceRequest(ctx: PrereqContext, op: CreateOp): Promise<NewInstanceRequest> {
  const asked: NewInstance = newInstance(op, ctx.config);
  const { name, template, filledBeparams, hypervisor, os, tags } = asked;
  if (op.group_name && ctx.config.findGroup(op.group_name) === undefined)
    throw new OpPrereqError(`Node group '${op.group_name}' is not known`, "unknown_entity");
  const disks = op.disks.map(({ size, mode, spindles }) => ({
    size: size ?? 0,
    mode: mode ?? "rw",
    type: template,
    spindles: spindles ?? null,
  }));
  return {
    name,
    disk_template: template,
    group_name: op.group_name ?? null,
    tags,
    os,
    vcpus: Number(filledBeparams.vcpus),
    memory: Number(filledBeparams.maxmem),
    spindle_use: Number(filledBeparams.spindle_use),
    disks,
    disk_space_total: disks.reduce((sum, { size }) => sum + diskUsageMib(template, size), 0),
    nics: op.nics.map((nic) => nicRequest(ctx.config, nic)),
    required_nodes: DISK_TEMPLATE_TRAITS[template].needsSecondary ? 2 : 1,
    hypervisor,
    ...(isOpportunistic(op) ? { "restrict-to-nodes": await lockedNodes(ctx) } : {}),
  };
}

/** What is left out is the cluster's: of a network's connection it is known only when the group is. */
function nicRequest(view: ConfigView, nic: CreateOp["nics"][number]): AllocatorNic {
  const network = nic.network && nic.network !== "none" ? view.findNetwork(nic.network) : undefined;
  return {
    mac: nic.mac ?? "auto",
    ip: nic.ip ?? null,
    mode: nic.mode ?? String(view.cluster.nicparams.mode),
    link: nic.link ?? nic.bridge ?? String(view.cluster.nicparams.link),
    ...(network === undefined ? {} : { network: network.uuid }),
  };
}

/** Names of the nodes that are this opcode's just now. */
async function lockedNodes(ctx: PrereqContext): Promise<readonly string[]> {
  const held = await ctx.heldLocks();
  return [...ctx.config.nodes.values()]
    .filter(({ uuid }) => held.some(({ level, name }) => level === "node-res" && name === uuid))
    .map(({ name }) => name)
    .sort();
}

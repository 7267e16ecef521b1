import type { MovePlan } from "@gannet/allocator";
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type Node } from "@gannet/objects";
import { type EvacMode, NodeEvacuate, type Op, type WireOpcode } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import { jobsOfPlan, joinedPlans, tellOfPlan } from "../../allocator/move-plan.ts";
import type { PrereqContext } from "../../executor/context.ts";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { usableNode } from "../instance/create-plan.ts";
import { knownNode } from "../instance/lookups.ts";

type EvacuateOp = Op<typeof NodeEvacuate>;

/** The jobs that empty a node, and what an allocator said to them. */
interface Evacuation {
  readonly jobs: readonly (readonly WireOpcode[])[];
  readonly plan: MovePlan | undefined;
}

/** Which instances an allocator is asked to move, by the copy that is on the node; one that has both moves as one. */
const COPIES: Readonly<Record<EvacMode, readonly Exclude<EvacMode, "all">[]>> = {
  "primary-only": ["primary-only"],
  "secondary-only": ["secondary-only"],
  all: ["primary-only", "secondary-only"],
};

export const nodeEvacuate = implement(NodeEvacuate, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    if (node === undefined) return [];
    const nodes = [...new Set([node, ...targetsOf(view, op, node)])];
    const instances = COPIES[op.mode].flatMap((copy) => instancesOf(view, node, copy));
    return [
      ...instances.map(({ name }) => shared.instance(name)),
      ...[...new Set(nodes.map(({ group }) => group))].map(shared.nodegroup),
      ...nodes.map(({ uuid }) => shared.node(uuid)),
    ];
  },

  async checkPrereq(ctx, op): Promise<Evacuation> {
    const node = knownNode(ctx.config, op.node_uuid ?? op.node_name);
    const remote = remoteOf(op);
    if (remote !== null && op.iallocator)
      throw new OpPrereqError("Name either the new node (remote_node) or an allocator, not both", "wrong_input");
    return remote === null
      ? await allocatedEvacuation(ctx, op, node)
      : { jobs: jobsToNode(ctx.config, op, { node, remote: knownNode(ctx.config, remote) }), plan: undefined };
  },

  async exec(ctx, _op, { jobs, plan }) {
    if (plan !== undefined) tellOfPlan(ctx.feedback, plan, "evacuate");
    return submitting(jobs);
  },
});

const remoteOf = (op: EvacuateOp): string | null => op.remote_node_uuid ?? op.remote_node ?? null;

/** Where instances may go: the node that is named, or all of the group. */
function targetsOf(view: ConfigView, op: EvacuateOp, node: Node): readonly Node[] {
  const remote = remoteOf(op);
  if (remote === null) return view.nodesOf(node.group);
  const named = view.findNode(remote);
  return named === undefined ? [] : [named];
}

/** Those that something of is on the node: what is only reserved there cannot be moved. */
function instancesOf(view: ConfigView, node: Node, copy: Exclude<EvacMode, "all">): readonly Instance[] {
  const all = copy === "primary-only" ? view.primaryInstances(node.uuid) : view.secondaryInstances(node.uuid);
  return all.filter(({ forthcoming }) => !forthcoming);
}

/** @throws OpPrereqError */
function jobsToNode(
  view: ConfigView,
  op: EvacuateOp,
  { node, remote }: { readonly node: Node; readonly remote: Node },
): Evacuation["jobs"] {
  if (remote.uuid === node.uuid)
    throw new OpPrereqError(`Node ${node.name} is evacuated: it cannot be the new secondary, too`, "wrong_input");
  if (op.mode !== "secondary-only")
    throw new OpPrereqError(
      "To a named node only secondary copies can go (mode secondary-only); let an allocator choose, or migrate the " +
        "primary instances first",
      "wrong_input",
    );
  usableNode(view, remote.name);
  const instances = instancesOf(view, node, "secondary-only");
  const there = instances.find(({ primaryNode }) => primaryNode === remote.uuid);
  if (there !== undefined)
    throw new OpPrereqError(
      `Node ${remote.name} is the primary of instance ${there.name} and cannot be its secondary, too`,
      "wrong_input",
    );
  return instances.map(({ name }) => [
    {
      OP_ID: "OP_INSTANCE_REPLACE_DISKS",
      instance_name: name,
      mode: "replace_new_secondary",
      remote_node: remote.name,
      disks: [],
      early_release: op.early_release,
    },
  ]);
}

/** Primary and secondary copies are asked for one after the other: a request has one mode for all its instances. */
async function allocatedEvacuation(ctx: PrereqContext, op: EvacuateOp, node: Node): Promise<Evacuation> {
  const allocator = allocatorChoice(ctx.config, op.iallocator);
  const plans: MovePlan[] = [];
  for (const copy of COPIES[op.mode]) {
    const instances = instancesOf(ctx.config, node, copy);
    const [first] = instances.toSorted((a, b) => mirrored(b) - mirrored(a));
    if (first === undefined) continue;
    plans.push(
      await askAllocator(ctx, {
        allocator,
        request: { type: "node-evacuate", instances: instances.map(({ name }) => name), evac_mode: copy },
        storageType: DISK_TEMPLATE_TRAITS[first.diskTemplate].storageType,
        softErrors: op.ignore_soft_errors ? "ignore" : "refuse",
      }),
    );
  }
  const plan = joinedPlans(plans);
  return { plan, jobs: jobsOfPlan(plan, { earlyRelease: op.early_release }) };
}

/** Those whose disks take space on the nodes that they go to come first. */
function mirrored({ diskTemplate }: Instance): number {
  return DISK_TEMPLATE_TRAITS[diskTemplate].mirroring === "internal" ? 1 : 0;
}

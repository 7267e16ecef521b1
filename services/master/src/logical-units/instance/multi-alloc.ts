import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS } from "@gannet/objects";
import { InstanceCreate, InstanceMultiAlloc, type Op, type WireOpcode, wireOpcode } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { askAllocator } from "../../allocator/ask-allocator.ts";
import type { PrereqContext } from "../../executor/context.ts";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { newInstanceRequest } from "./allocation.ts";
import { usableTemplate } from "./create-plan.ts";
import { knownNode } from "./lookups.ts";

type MultiAllocOp = Op<typeof InstanceMultiAlloc>;
type Allocation = MultiAllocOp["instances"][number];

/** The instances that have a place, each with it, and the names of those that have none. */
interface Places {
  readonly placed: readonly Allocation[];
  readonly failed: readonly string[];
}

/** Each instance is created by a job of its own, on the nodes that its request names, or that an allocator chooses. */
export const instanceMultiAlloc = implement(InstanceMultiAlloc, {
  locks(op, view) {
    if (isAllocated(op)) return op.opportunistic_locking ? [] : [shared.all("node"), shared.all("node-res")];
    const nodes = op.instances.flatMap((asked) => nodesOf(asked).flatMap((name) => view.findNode(name)?.uuid ?? []));
    const unique = [...new Set(nodes)];
    return [...unique.map(shared.node), ...unique.map(shared.nodeRes)];
  },

  candidates(op, view) {
    if (!isAllocated(op) || !op.opportunistic_locking) return undefined;
    return { levels: ["node", "node-res"], names: [...view.nodes.keys()], mode: "shared", atLeast: 1 };
  },

  async checkPrereq(ctx, op): Promise<Places> {
    checkRequest(op, ctx.config);
    return isAllocated(op) ? await allocated(ctx, op) : { placed: op.instances, failed: [] };
  },

  async exec(ctx, _op, { placed, failed }) {
    for (const name of failed) ctx.feedback.warning(`There is no place for instance ${name}`);
    return submitting(
      placed.map((asked) => [creation(asked)]),
      { allocatable: placed.map(({ instance_name }) => instance_name), failed: [...failed] },
    );
  },
});

function nodesOf({ pnode, pnode_uuid, snode, snode_uuid }: Allocation): readonly string[] {
  return [pnode_uuid ?? pnode, snode_uuid ?? snode].flatMap((name) => name ?? []);
}

/** Whether an allocator is to choose the nodes of all. */
function isAllocated({ instances }: MultiAllocOp): boolean {
  return instances.length > 0 && instances.every((asked) => nodesOf(asked).length === 0);
}

/** @throws OpPrereqError: wrong_input, unknown_entity */
function checkRequest(op: MultiAllocOp, view: ConfigView): void {
  const { instances } = op;
  const refuse = (text: string): never => {
    throw new OpPrereqError(text, "wrong_input");
  };
  if (op.opportunistic_locking && !op.iallocator)
    refuse("Opportunistic locking is for requests that name an allocator (iallocator)");
  const own = instances.find(({ iallocator }) => iallocator != null);
  if (own !== undefined)
    refuse(`${own.instance_name} names an iallocator of its own: name one for all instances, or nodes`);
  const names = instances.map(({ instance_name }) => instance_name);
  const twice = [...new Set(names.filter((name, position) => names.indexOf(name) !== position))];
  if (twice.length > 0) refuse(`There are duplicate instance names: ${twice.join(", ")}`);
  if (isAllocated(op)) return;
  if (op.iallocator != null) refuse("Name either the nodes of the instances or an allocator (iallocator), not both");
  const homeless = instances.find((asked) => nodesOf(asked).length < wantedNodes(asked));
  if (homeless !== undefined)
    refuse(`${homeless.instance_name} does not name its nodes, and others do: name them for all, or for none`);
  for (const name of instances.flatMap(nodesOf)) knownNode(view, name);
}

function wantedNodes({ disk_template }: Allocation): number {
  return disk_template != null && DISK_TEMPLATE_TRAITS[disk_template].needsSecondary ? 2 : 1;
}

/** The allocator sees the instances before each one in their places. */
async function allocated(ctx: PrereqContext, op: MultiAllocOp): Promise<Places> {
  const { instances, opportunistic_locking } = op;
  const requests = await Promise.all(
    instances.map((asked) => newInstanceRequest(ctx, { ...asked, opportunistic_locking })),
  );
  const template = usableTemplate(ctx.config, instances[0]?.disk_template ?? null);
  const { placed, failed } = await askAllocator(ctx, {
    allocator: allocatorChoice(ctx.config, op.iallocator),
    request: { type: "multi-allocate", instances: requests },
    storageType: DISK_TEMPLATE_TRAITS[template].storageType,
  });
  const places = new Map(placed);
  return {
    failed,
    placed: instances.flatMap((asked): Allocation[] => {
      const nodes = places.get(asked.instance_name);
      return nodes === undefined ? [] : [{ ...asked, pnode: nodes[0] ?? null, snode: nodes[1] ?? null }];
    }),
  };
}

function creation({ OP_ID: _id, ...params }: Allocation): WireOpcode {
  return wireOpcode(InstanceCreate, params);
}

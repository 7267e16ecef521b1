import type { AllocatorRequest } from "@gannet/allocator";
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type DiskTemplate, diskUsageMib, type Instance } from "@gannet/objects";
import { InstanceCreate, type Op, parseOpcode, TestAllocator } from "@gannet/opcodes";
import { allocatorChoice } from "../../allocator/allocator-choice.ts";
import { allocatorInput, allocatorOutput } from "../../allocator/ask-allocator.ts";
import type { PrereqContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownGroup } from "../group/lookups.ts";
import { newInstanceRequest } from "../instance/allocation.ts";
import { usableTemplate } from "../instance/create-plan.ts";
import { knownInstance } from "../instance/lookups.ts";

type AllocatorOp = Op<typeof TestAllocator>;

/** A request, and the disk template whose storage the answer depends on. */
interface Asked {
  readonly request: AllocatorRequest;
  readonly template: DiskTemplate;
}

/** What an allocator would be asked (`in`), or what it answers, as it answers it (`out`). Nothing is done with it. */
export const testAllocator = implement(TestAllocator, {
  locks: () => [exclusive.bigLock],

  async checkPrereq(ctx, op) {
    const asked = await REQUESTS[op.mode](ctx, op);
    if (op.direction === "out" && !op.iallocator)
      throw new OpPrereqError("Name the allocator that is to answer (iallocator)", "wrong_input");
    return asked;
  },

  async exec(ctx, op, { request, template }) {
    const input = await allocatorInput(ctx, { request, storageType: DISK_TEMPLATE_TRAITS[template].storageType });
    if (op.direction === "in") return JSON.stringify(input);
    return JSON.stringify(await allocatorOutput(ctx, input, { allocator: allocatorChoice(ctx.config, op.iallocator) }));
  },
});

const REQUESTS: Readonly<Record<AllocatorOp["mode"], (ctx: PrereqContext, op: AllocatorOp) => Promise<Asked> | Asked>> =
  {
    async allocate(ctx, op) {
      const create = creation(op, op.name);
      return {
        request: { type: "allocate", ...(await newInstanceRequest(ctx, create)) },
        ...templateOf(ctx.config, op),
      };
    },

    async "multi-allocate"(ctx, op) {
      const instances = [];
      for (let position = 0; position < op.count; position += 1)
        instances.push(await newInstanceRequest(ctx, creation(op, `${op.name}${position}`)));
      return { request: { type: "multi-allocate", instances }, ...templateOf(ctx.config, op) };
    },

    relocate({ config }, op) {
      const instance = knownInstance(config, op.name);
      const from = config.secondaryNodes(instance).map((uuid) => config.nodes.get(uuid)?.name ?? uuid);
      const request = {
        type: "relocate",
        name: instance.name,
        disk_space_total: config
          .disksOf(instance)
          .reduce((sum, { template, sizeMib }) => sum + diskUsageMib(template, sizeMib), 0),
        required_nodes: 1,
        relocate_from: from,
      } as const;
      return { request, template: instance.diskTemplate };
    },

    "change-group"({ config }, op) {
      const instances = namedInstances(config, op);
      const groups = (op.target_groups ?? []).map((name) => knownGroup(config, name).uuid);
      return {
        request: { type: "change-group", ...namesOf(instances), target_groups: groups },
        ...firstTemplate(instances),
      };
    },

    "node-evacuate"({ config }, op) {
      if (op.evac_mode === null)
        throw new OpPrereqError("Say which copies leave their nodes (evac_mode)", "wrong_input");
      const instances = namedInstances(config, op);
      return {
        request: { type: "node-evacuate", ...namesOf(instances), evac_mode: op.evac_mode },
        ...firstTemplate(instances),
      };
    },

    // What is to be placed is the mirror that it does not have yet.
    "allocate-secondary": ({ config }, op) => ({
      request: { type: "allocate-secondary", name: knownInstance(config, op.name).name },
      template: "drbd",
    }),
  };

/** The request to create an instance that this one is about. @throws OpPrereqError when it lacks what that needs */
function creation(op: AllocatorOp, name: string): Op<typeof InstanceCreate> {
  for (const needed of ["disks", "nics", "os"] as const)
    if (op[needed] === null) throw new OpPrereqError(`A new instance needs ${needed}`, "wrong_input");
  const { op: create } = parseOpcode({
    OP_ID: InstanceCreate.id,
    instance_name: name,
    mode: "create",
    disks: op.disks,
    nics: op.nics,
    os_type: op.os,
    disk_template: op.disk_template,
    hypervisor: op.hypervisor,
    tags: op.tags,
    group_name: op.group_name,
    beparams: {
      spindle_use: op.spindle_use,
      ...(op.memory === null ? {} : { memory: op.memory }),
      ...(op.vcpus === null ? {} : { vcpus: op.vcpus }),
    },
  });
  return create as Op<typeof InstanceCreate>;
}

function templateOf(view: ConfigView, op: AllocatorOp): Pick<Asked, "template"> {
  return { template: usableTemplate(view, op.disk_template) };
}

function namedInstances(view: ConfigView, op: AllocatorOp): readonly Instance[] {
  const instances = (op.instances ?? []).map((name) => knownInstance(view, name));
  if (instances.length === 0) throw new OpPrereqError("Name the instances that are to move (instances)", "wrong_input");
  return instances;
}

const namesOf = (instances: readonly Instance[]) => ({ instances: instances.map(({ name }) => name) });

const firstTemplate = ([first]: readonly Instance[]): Pick<Asked, "template"> => ({
  template: first?.diskTemplate ?? "diskless",
});

import { OpPrereqError } from "@gannet/errors";
import { InstanceSetParams, type Op } from "@gannet/opcodes";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { convertDisks, planConversion } from "./convert-disks.ts";
import { instanceLock } from "./locks.ts";
import { knownInstance } from "./lookups.ts";

type SetParamsOp = Op<typeof InstanceSetParams>;

/** What is declared and cannot be done yet: everything but another disk template. */
const NOT_SUPPORTED_YET: readonly (readonly [what: string, asked: (op: SetParamsOp) => boolean])[] = [
  ["changes of NICs", (op) => op.nics.length > 0],
  ["changes of single disks", (op) => op.disks.length > 0],
  ["backend parameters", (op) => Object.keys(op.beparams).length > 0],
  ["hypervisor parameters", (op) => Object.keys(op.hvparams).length > 0],
  ["OS parameters", (op) => Object.keys({ ...op.osparams, ...op.osparams_private }).length > 0],
  ["another OS", (op) => isGiven(op.os_name)],
  ["another primary node", (op) => isGiven(op.pnode) || isGiven(op.pnode_uuid)],
  ["the memory of the running guest", (op) => isGiven(op.runtime_mem)],
  ["offline", (op) => isGiven(op.offline)],
  ["instance communication", (op) => isGiven(op.instance_communication)],
  ["an iallocator", (op) => isGiven(op.iallocator)],
];

const isGiven = (value: unknown): boolean => value !== null && value !== undefined;

export const instanceSetParams = implement(InstanceSetParams, {
  unavailable: (op) => NOT_SUPPORTED_YET.find(([, asked]) => asked(op))?.[0],

  locks(op, view) {
    const instance = view.findInstance(op.instance_name);
    const own = instance ? [instance.primaryNode, ...view.secondaryNodes(instance)] : [];
    const remote = view.findNode(op.remote_node_uuid ?? op.remote_node ?? "")?.uuid;
    const nodes = [...new Set(remote === undefined ? own : [...own, remote])];
    const groups = new Set(nodes.flatMap((uuid) => view.nodes.get(uuid)?.group ?? []));
    return [
      instanceLock(view, op.instance_name),
      ...[...groups].map(shared.nodegroup),
      ...nodes.map(exclusive.node),
      ...nodes.map(exclusive.nodeRes),
    ];
  },

  async checkPrereq(ctx, op) {
    const instance = knownInstance(ctx.config, op.instance_name);
    if (!op.disk_template) throw new OpPrereqError("No change was asked for", "wrong_input");
    return await planConversion(ctx, instance, {
      template: op.disk_template,
      secondary: op.remote_node_uuid ?? op.remote_node ?? "",
      files: op,
      extParams: op.ext_params,
      ignorePolicy: op.ignore_ipolicy,
    });
  },

  async exec(ctx, op, conversion) {
    await convertDisks(ctx, conversion, { waitForSync: op.wait_for_sync });
    const changes: [string, unknown][] = [["disk_template", conversion.template]];
    return changes;
  },
});

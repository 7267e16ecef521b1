import { OpPrereqError } from "@gannet/errors";
import { NodeMigrate } from "@gannet/opcodes";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { knownNode } from "../instance/lookups.ts";

/** A job for each instance, which checks for itself whether it can go. */
export const nodeMigrate = implement(NodeMigrate, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    return node === undefined ? [] : [shared.node(node.uuid)];
  },

  checkPrereq(ctx, op) {
    const node = knownNode(ctx.config, op.node_uuid ?? op.node_name);
    const target = op.target_node_uuid ?? op.target_node ?? null;
    if (target !== null && op.iallocator)
      throw new OpPrereqError("Name either the target node or an allocator (iallocator), not both", "wrong_input");
    if (target !== null && knownNode(ctx.config, target).uuid === node.uuid)
      throw new OpPrereqError(`Instances of ${node.name} cannot be migrated to it`, "wrong_input");
    return { node, instances: ctx.config.primaryInstances(node.uuid).filter(({ forthcoming }) => !forthcoming) };
  },

  hooks(view, op, { node }) {
    const nodes = withMaster(view);
    const environment = { NODE_NAME: node.name, ALLOW_RUNTIME_CHANGES: op.allow_runtime_changes };
    return { path: "node-migrate", object: "NODE", environment, pre: nodes, post: nodes };
  },

  async exec(_ctx, op, { instances }) {
    return submitting(
      instances.map(({ name }) => [
        {
          OP_ID: "OP_INSTANCE_MIGRATE",
          instance_name: name,
          mode: op.mode,
          live: op.live,
          iallocator: op.iallocator,
          target_node: op.target_node,
          target_node_uuid: op.target_node_uuid,
          allow_runtime_changes: op.allow_runtime_changes,
          ignore_ipolicy: op.ignore_ipolicy,
        },
      ]),
    );
  },
});

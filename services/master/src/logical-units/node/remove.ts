import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import { candidatePool, type Node } from "@gannet/objects";
import { NodeRemove } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { withoutMachineTokens } from "../../membership/machine-token.ts";
import { tellHostsFiles } from "../cluster/hosts-files.ts";
import { knownNode } from "../instance/lookups.ts";
import { Farewell } from "./farewell.ts";
import { promotions, tellOfPromotions } from "./set-params.ts";

export const nodeRemove = implement(NodeRemove, {
  locks: () => [exclusive.bigLock],

  checkPrereq(ctx, op) {
    const view = ctx.config;
    const node = knownNode(view, op.node_uuid ?? op.node_name);
    if (node.uuid === view.cluster.masterNode)
      throw new OpPrereqError(
        `Node ${node.name} is the master: let another node be master before it is removed`,
        "wrong_input",
      );
    const instances = [...view.primaryInstances(node.uuid), ...view.secondaryInstances(node.uuid)];
    if (instances.length > 0)
      throw new OpPrereqError(
        `Node ${node.name} has instances (${instances.map(({ name }) => name).join(", ")}): evacuate it first`,
        "wrong_input",
      );
    return node;
  },

  hooks(view, _op, { uuid, name }) {
    const others = [...view.nodes.keys()].filter((other) => other !== uuid);
    const environment = { OP_TARGET: name, NODE_NAME: name };
    return { path: "node-remove", object: "NODE", environment, pre: others, post: others };
  },

  async exec(ctx, _op, { uuid }) {
    let promoted: readonly Node[] = [];
    using farewell = await Farewell.begin(ctx, uuid);
    await ctx.commit((view): readonly ConfigChange[] => {
      const node = view.nodes.get(uuid);
      if (node === undefined) return [];
      promoted = candidatePool(view.cluster, view.nodes.values(), [uuid]).promoted;
      return [
        { kind: "node", remove: node },
        ...promotions(promoted),
        ...farewell.revocation(view, node),
        ...withoutMachineTokens(view, node.name),
      ];
    });
    await farewell.say();
    tellOfPromotions(ctx, promoted);
    await tellHostsFiles(ctx);
    return null;
  },
});

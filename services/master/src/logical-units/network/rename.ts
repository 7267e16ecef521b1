import { checkEntityName } from "@gannet/objects";
import { NetworkRename } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { withMaster } from "../../hooks/hook-plan.ts";
import { connectedGroups, freeNetworkName, knownNetwork } from "./lookups.ts";

export const networkRename = implement(NetworkRename, {
  locks(op, view) {
    const network = view.findNetwork(op.network_name);
    return network === undefined ? [] : [exclusive.network(network.uuid)];
  },

  checkPrereq(ctx, op) {
    const network = knownNetwork(ctx.config, op.network_name);
    checkEntityName("network", op.new_name);
    freeNetworkName(ctx.config, op.new_name);
    return network;
  },

  hooks(view, op, network) {
    const members = connectedGroups(view, network).flatMap(({ uuid }) => view.nodesOf(uuid));
    const nodes = withMaster(view, ...members.map(({ uuid }) => uuid));
    const names = { OLD_NAME: network.name, NEW_NAME: op.new_name };
    return masterHooks(view, "network-rename", "NETWORK", names, { pre: nodes, post: nodes });
  },

  async exec(ctx, op, { uuid }) {
    await ctx.commit((view) => {
      freeNetworkName(view, op.new_name);
      const row = view.networks.get(uuid);
      return row === undefined ? [] : [{ kind: "network", put: { ...row, name: op.new_name } }];
    });
    return op.new_name;
  },
});

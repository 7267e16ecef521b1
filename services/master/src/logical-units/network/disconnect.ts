import { NetworkDisconnect } from "@gannet/opcodes";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { connectionHooks } from "../../hooks/cluster-hooks.ts";
import { withGroup } from "../group/group-rows.ts";
import { groupInstances, knownGroup } from "../group/lookups.ts";
import { knownNetwork, noConflictingNics } from "./lookups.ts";

export const networkDisconnect = implement(NetworkDisconnect, {
  locks(op, view) {
    const group = view.findGroup(op.group_name);
    if (group === undefined) return [];
    return [...groupInstances(view, group).map(({ name }) => shared.instance(name)), exclusive.nodegroup(group.uuid)];
  },

  checkPrereq({ config }, op) {
    const group = knownGroup(config, op.group_name);
    const network = knownNetwork(config, op.network_name);
    const isConnected = group.networks[network.uuid] !== undefined;
    if (isConnected)
      noConflictingNics(groupInstances(config, group), (nic) => nic.network === network.uuid, {
        ...{ network, group },
        plan: "disconnect from",
      });
    return { group, network, isConnected };
  },

  hooks: (view, _op, { group, network }) =>
    connectionHooks(view, "network-disconnect", group, group.networks[network.uuid] ?? {}),

  async exec(ctx, _op, { group, network, isConnected }) {
    if (!isConnected) {
      ctx.feedback.warning(`Network '${network.name}' is not mapped to group '${group.name}'`);
      return null;
    }
    await ctx.commit((view) =>
      withGroup(view, group.uuid, (row) => {
        const { [network.uuid]: _gone, ...networks } = row.networks;
        return { ...row, networks };
      }),
    );
    return null;
  },
});

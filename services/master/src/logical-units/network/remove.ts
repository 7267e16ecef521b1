import { OpPrereqError } from "@gannet/errors";
import { NetworkRemove } from "@gannet/opcodes";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { connectedGroups, knownNetwork } from "./lookups.ts";

/** `force` changes nothing, as in Ganeti: a network that is in use is never removed. */
export const networkRemove = implement(NetworkRemove, {
  locks(op, view) {
    const network = view.findNetwork(op.network_name);
    return [shared.all("nodegroup"), ...(network === undefined ? [] : [exclusive.network(network.uuid)])];
  },

  checkPrereq({ config }, op) {
    const network = knownNetwork(config, op.network_name);
    const groups = connectedGroups(config, network);
    if (groups.length > 0)
      throw new OpPrereqError(
        `Network still connected: ${network.name} is connected to ${groups.map(({ name }) => name).join(", ")}; disconnect it first`,
        "wrong_state",
      );
    const users = [...config.instances.values()].filter(({ nics }) => nics.some((nic) => nic.network === network.uuid));
    if (users.length > 0)
      throw new OpPrereqError(
        `Network ${network.name} is used by NICs of ${users.map(({ name }) => name).join(", ")}`,
        "wrong_state",
      );
    return network;
  },

  hooks: (view, _op, { name }) => masterHooks(view, "network-remove", "NETWORK", { NETWORK_NAME: name }),

  async exec(ctx, _op, { uuid }) {
    await ctx.commit((view) => {
      const network = view.networks.get(uuid);
      return network === undefined ? [] : [{ kind: "network", remove: network }];
    });
    return null;
  },
});

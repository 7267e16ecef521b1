import { changedNetwork, type NetworkChange } from "@gannet/objects";
import { NetworkSetParams, type Op } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { networkEnvironment } from "../../hooks/object-environment.ts";
import { knownNetwork } from "./lookups.ts";

/** Asking for what is so already is no error (as in Ganeti): the job's log tells of it. */
export const networkSetParams = implement(NetworkSetParams, {
  locks(op, view) {
    const network = view.findNetwork(op.network_name);
    return network === undefined ? [] : [exclusive.network(network.uuid)];
  },

  checkPrereq(ctx, op) {
    const network = knownNetwork(ctx.config, op.network_name);
    return { network, notes: changedNetwork(network, changeOf(op)).notes };
  },

  hooks: (view, _op, { network }) =>
    masterHooks(view, "network-modify", "NETWORK", networkEnvironment(view.networks.get(network.uuid) ?? network)),

  async exec(ctx, op, { network: { uuid }, notes }) {
    for (const note of notes) ctx.feedback.warning(note);
    await ctx.commit((view) => {
      const row = view.networks.get(uuid);
      return row === undefined ? [] : [{ kind: "network", put: changedNetwork(row, changeOf(op)).network }];
    });
    return null;
  },
});

function changeOf(op: Op<typeof NetworkSetParams>): NetworkChange {
  return {
    ...(op.gateway === null ? {} : { gateway: noneAsNull(op.gateway) }),
    ...(op.network6 === null ? {} : { network6: noneAsNull(op.network6) }),
    ...(op.gateway6 === null ? {} : { gateway6: noneAsNull(op.gateway6) }),
    ...(op.mac_prefix === null ? {} : { macPrefix: op.mac_prefix }),
    addReservedIps: op.add_reserved_ips ?? [],
    removeReservedIps: op.remove_reserved_ips ?? [],
  };
}

function noneAsNull(value: string): string | null {
  return value === "none" ? null : value;
}

import { checkNicParameters, enforceTypes, filledNicparams, NIC_PARAMETERS, networkPool } from "@gannet/objects";
import { NetworkConnect } from "@gannet/opcodes";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { connectionHooks } from "../../hooks/cluster-hooks.ts";
import { withGroup } from "../group/group-rows.ts";
import { groupInstances, knownGroup } from "../group/lookups.ts";
import { knownNetwork, noConflictingNics } from "./lookups.ts";

/** Whether a NIC has an address is asked where there is a NIC. */
const SOME_ADDRESS = "192.0.2.1";

export const networkConnect = implement(NetworkConnect, {
  locks(op, view) {
    const group = view.findGroup(op.group_name);
    const network = view.findNetwork(op.network_name);
    const instances = group === undefined || !op.conflicts_check ? [] : groupInstances(view, group);
    return [
      ...instances.map(({ name }) => shared.instance(name)),
      ...(group === undefined ? [] : [exclusive.nodegroup(group.uuid)]),
      ...(network === undefined || !op.conflicts_check ? [] : [shared.network(network.uuid)]),
    ];
  },

  checkPrereq({ config }, op) {
    const group = knownGroup(config, op.group_name);
    const network = knownNetwork(config, op.network_name);
    const asked = { mode: op.network_mode, link: op.network_link, vlan: op.network_vlan };
    const nicparams = enforceTypes("NIC parameter", NIC_PARAMETERS, asked);
    checkNicParameters(filledNicparams(config.cluster, undefined, nicparams), SOME_ADDRESS);
    const isConnected = group.networks[network.uuid] !== undefined;
    if (!isConnected && op.conflicts_check)
      noConflictingNics(groupInstances(config, group), ({ ip }) => ip !== null && networkPool.contains(network, ip), {
        network,
        plan: "connect to",
        group,
      });
    return { group, network, nicparams, isConnected };
  },

  hooks: (view, _op, { group, nicparams }) => connectionHooks(view, "network-connect", group, nicparams),

  async exec(ctx, _op, { group, network, nicparams, isConnected }) {
    if (isConnected) {
      ctx.feedback.warning(`Network '${network.name}' is already mapped to group '${group.name}'`);
      return null;
    }
    await ctx.commit((view) =>
      withGroup(view, group.uuid, (row) => ({ ...row, networks: { ...row.networks, [network.uuid]: nicparams } })),
    );
    return null;
  },
});

import { randomUUID } from "node:crypto";
import type { ConfigView, Network, NetworkUuid } from "@gannet/objects";
import { networkPool, newNetwork } from "@gannet/objects";
import { NetworkAdd, type Op } from "@gannet/opcodes";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { networkEnvironment } from "../../hooks/object-environment.ts";
import { freeNetworkName } from "./lookups.ts";

export const networkAdd = implement(NetworkAdd, {
  locks: (op) => (op.conflicts_check ? [shared.all("node")] : []),

  checkPrereq(ctx, op) {
    freeNetworkName(ctx.config, op.network_name);
    const identity = { uuid: randomUUID() as NetworkUuid, now: ctx.now() };
    return { identity, notes: addedNetwork(op, ctx.config, identity).notes };
  },

  hooks: (view, op, { identity }) =>
    masterHooks(view, "network-add", "NETWORK", networkEnvironment(addedNetwork(op, view, identity).network)),

  async exec(ctx, op, { identity, notes }) {
    for (const note of notes) ctx.feedback.info(note);
    await ctx.commit((view) => {
      freeNetworkName(view, op.network_name);
      return [{ kind: "network", put: addedNetwork(op, view, identity).network }];
    });
    return null;
  },
});

/**
 * The row of the new network, in which addresses of the cluster's own machines are kept from instances.
 * @throws OpPrereqError: wrong_input, resource_not_unique; TagError
 */
function addedNetwork(
  op: Op<typeof NetworkAdd>,
  view: ConfigView,
  identity: { readonly uuid: NetworkUuid; readonly now: number },
): { readonly network: Network; readonly notes: readonly string[] } {
  let network = newNetwork({
    ...identity,
    name: op.network_name,
    network: op.network,
    gateway: op.gateway,
    network6: op.network6,
    gateway6: op.gateway6,
    macPrefix: op.mac_prefix,
    reservedIps: op.add_reserved_ips ?? [],
    tags: op.tags,
  });
  const notes: string[] = [];
  for (const { ip, of } of op.conflicts_check ? ownAddresses(view) : []) {
    if (!networkPool.contains(network, ip) || networkPool.isReserved(network, ip)) continue;
    network = { ...network, ...networkPool.reserve(network, ip, "external") };
    notes.push(`Reserved IP address ${ip} of ${of}`);
  }
  return { network, notes };
}

/** Addresses of the nodes and of the cluster, each once. */
function ownAddresses({ cluster, nodes }: ConfigView): readonly { readonly ip: string; readonly of: string }[] {
  const addresses = new Map<string, string>();
  for (const { name, primaryIp, secondaryIp } of nodes.values())
    for (const ip of [primaryIp, secondaryIp]) addresses.set(ip, `node ${name}`);
  addresses.set(cluster.masterIp, addresses.get(cluster.masterIp) ?? "the cluster");
  return [...addresses].map(([ip, of]) => ({ ip, of }));
}

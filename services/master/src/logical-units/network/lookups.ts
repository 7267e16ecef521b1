/** Networks as operations name them, and who uses them. Pure. */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Instance, Network, Nic, NodeGroup } from "@gannet/objects";

/** @throws OpPrereqError (unknown_entity) */
export function knownNetwork(view: ConfigView, name: string): Network {
  const network = view.findNetwork(name);
  if (network === undefined) throw new OpPrereqError(`Network '${name}' is not known`, "unknown_entity");
  return network;
}

/** @throws OpPrereqError (already_exists) */
export function freeNetworkName(view: ConfigView, name: string): void {
  const other = view.findNetwork(name);
  if (other === undefined) return;
  throw new OpPrereqError(
    `Desired network name '${name}' already exists as a network (UUID: ${other.uuid})`,
    "already_exists",
  );
}

/** Groups that the network is connected to, by name. */
export function connectedGroups(view: ConfigView, network: Network): readonly NodeGroup[] {
  return [...view.groups.values()]
    .filter((group) => group.networks[network.uuid] !== undefined)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * No NIC of the instances stands in the way.
 * @param plan - "connect to", "disconnect from"
 * @throws OpPrereqError (wrong_state) that lists the NICs that do
 */
export function noConflictingNics(
  instances: readonly Instance[],
  isConflict: (nic: Nic) => boolean,
  { network, plan, group }: { readonly network: Network; readonly plan: string; readonly group: NodeGroup },
): void {
  const conflicts = instances.flatMap(({ name, nics }) => {
    const own = nics.flatMap((nic, index) => (isConflict(nic) ? [`nic${index}/${nic.ip ?? "no address"}`] : []));
    return own.length === 0 ? [] : [`${name}: ${own.join(", ")}`];
  });
  if (conflicts.length === 0) return;
  throw new OpPrereqError(
    `Conflicting IP addresses found: addresses of network ${network.name}, which is about to ${plan} node group ` +
      `${group.name}, are in use: ${conflicts.join("; ")}; remove or modify these network interfaces first`,
    "wrong_state",
  );
}

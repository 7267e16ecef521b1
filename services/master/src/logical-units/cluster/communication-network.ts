/** The network over which guests and their nodes talk (spec/opcodes.json, `instance_communication_network`). Pure. */
import type { ConfigChange } from "@gannet/config-store";
import { type ConfigView, METADATA_ADDRESS, type NetworkUuid, newNetwork, type Parameters } from "@gannet/objects";

/** Link-local addresses, which every node can have at once. */
const ADDRESSES = { network: "169.254.0.0/16", network6: "fe80::/64", gateway: null, gateway6: null } as const;
const MAC_PREFIX = "52:54:00";
/** How groups are connected to it. */
export const COMMUNICATION_CONNECTION: Parameters = { mode: "routed", link: "communication_rt", vlan: "" };

/**
 * What makes a network of this name one that guests of every group can talk over; a network that there is stays as it
 * is, and so do its connections.
 * @param identity - of a network that has to be made
 */
export function withCommunicationNetwork(
  view: ConfigView,
  name: string,
  identity: { readonly uuid: NetworkUuid; readonly now: number },
): readonly ConfigChange[] {
  const present = view.findNetwork(name);
  const network =
    present ??
    newNetwork({ ...ADDRESSES, ...identity, name, macPrefix: MAC_PREFIX, reservedIps: [METADATA_ADDRESS], tags: [] });
  const unconnected = [...view.groups.values()].filter((group) => group.networks[network.uuid] === undefined);
  return [
    ...(present === undefined ? [{ kind: "network", put: network } as const] : []),
    ...unconnected.map((group): ConfigChange => {
      const networks = { ...group.networks, [network.uuid]: COMMUNICATION_CONNECTION };
      return { kind: "nodegroup", put: { ...group, networks } };
    }),
  ];
}

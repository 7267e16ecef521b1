/** Addresses that NICs hold in the pools of their networks, as changes of the networks' rows. Pure. */
import type { ConfigChange } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  type GroupUuid,
  type Instance,
  isIpv4,
  type Network,
  type NetworkUuid,
  type Nic,
  type Node,
  networkPool,
} from "@gannet/objects";

/** A NIC's address and the network that it is in. */
export type NicAddress = Pick<Nic, "ip" | "network">;

/** The networks' pools while NICs take addresses and give them back; each network's row is written once. */
export class AddressPools {
  readonly #view: ConfigView;
  readonly #rows = new Map<NetworkUuid, Network>();

  constructor(view: ConfigView) {
    this.#view = view;
  }

  /** Give an address back that a NIC has held; one that holds none is no error. */
  release({ ip, network }: NicAddress): void {
    const row = this.#pooled(ip, network);
    if (ip === null || row === undefined || !networkPool.contains(row, ip)) return;
    if (networkPool.isReserved({ ...row, extReservations: "" }, ip))
      this.#rows.set(row.uuid, { ...row, ...networkPool.release(row, ip, "instance") });
  }

  /**
   * Take an address.
   * @param external - whether one that is kept for others may be taken
   * @throws OpPrereqError: resource_not_unique when it is taken, wrong_input when it is not in the network
   */
  reserve({ ip, network }: NicAddress, { external }: { readonly external: "refused" | "taken" }): void {
    const row = this.#pooled(ip, network);
    if (ip === null || row === undefined) return;
    const pool = external === "taken" ? { ...row, extReservations: "" } : row;
    const { reservations } = networkPool.reserve(pool, ip, "instance");
    this.#rows.set(row.uuid, { ...row, reservations });
  }

  /** Take the network's lowest free address. @throws OpPrereqError (insufficient_resources) when there is none */
  draw(network: NetworkUuid): string {
    const row = this.#row(network);
    const ip = row && networkPool.nextFree(row);
    if (row === undefined || ip === undefined)
      throw new OpPrereqError(
        `Network ${row?.name ?? network} has no free address; release some or name another network`,
        "insufficient_resources",
      );
    this.#rows.set(row.uuid, { ...row, ...networkPool.reserve(row, ip, "instance") });
    return ip;
  }

  changes(): readonly ConfigChange[] {
    return [...this.#rows.values()]
      .filter((row) => row !== this.#view.networks.get(row.uuid))
      .map((put): ConfigChange => ({ kind: "network", put }));
  }

  /** The network whose pool an address comes from: only IPv4 addresses are counted. */
  #pooled(ip: string | null, network: NetworkUuid | null): Network | undefined {
    return ip === null || network === null || !isIpv4(ip) ? undefined : this.#row(network);
  }

  #row(network: NetworkUuid): Network | undefined {
    return this.#rows.get(network) ?? this.#view.networks.get(network);
  }
}

/**
 * An address outside of every network of the cluster's is nobody's business; one inside must be asked of its network.
 * @throws OpPrereqError (wrong_state) when a network that is connected to the group has the address
 */
export function checkForeignAddress(view: ConfigView, group: GroupUuid, ip: string, where: string): void {
  const connected = Object.keys(view.groups.get(group)?.networks ?? {});
  for (const uuid of connected) {
    const network = view.networks.get(uuid as NetworkUuid);
    if (network === undefined || !isIpv4(ip) || !networkPool.contains(network, ip)) continue;
    throw new OpPrereqError(
      `${where}: IP address ${ip} belongs to network ${network.name}, and the NIC does not; name the network, or leave ` +
        "the check out (conflicts_check=false)",
      "wrong_state",
    );
  }
}

/** @throws OpPrereqError (wrong_input) when a network of the instance's NICs is not connected to the node's group */
export function checkConnected(view: ConfigView, { name, nics }: Pick<Instance, "name" | "nics">, node: Node): void {
  const group = view.groups.get(node.group);
  const lost = nics.find(({ network }) => network !== null && group?.networks[network] === undefined);
  if (lost?.network == null) return;
  const network = view.networks.get(lost.network)?.name ?? lost.network;
  throw new OpPrereqError(
    `Network ${network} of ${name} is not connected to node group ${group?.name ?? node.group} of ${node.name}`,
    "wrong_input",
  );
}

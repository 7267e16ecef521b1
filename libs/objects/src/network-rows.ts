/** Rows of IP networks: new ones, and changes of their addresses, checked as a whole (spec/config.json, `network`). */
import { OpPrereqError } from "@gannet/errors";
import { ipv6Contains, isIpv6, isIpv6Network } from "./ip-address.ts";
import { normalizeMacPrefix } from "./mac.ts";
import type { Network } from "./model.ts";
import type { NetworkUuid } from "./names.ts";
import { checkEntityName } from "./names-validation.ts";
import { contains, isReserved, newReservations, release, reserve } from "./network-pool.ts";
import { addTags } from "./tags.ts";

export interface NewNetwork {
  readonly uuid: NetworkUuid;
  readonly name: string;
  /** `192.0.2.0/24` */
  readonly network: string;
  readonly gateway: string | null;
  readonly network6: string | null;
  readonly gateway6: string | null;
  readonly macPrefix: string | null;
  /** Addresses that no instance gets. */
  readonly reservedIps: readonly string[];
  readonly tags: readonly string[];
  /** Seconds since 1970. */
  readonly now: number;
}

/**
 * The row of a network to be added, not yet stored.
 * @throws OpPrereqError `wrong_input` on what cannot be, `resource_not_unique` on an address reserved twice; TagError
 */
export function newNetwork(asked: NewNetwork): Network {
  const { uuid, name, network, gateway, network6, gateway6, macPrefix, reservedIps, tags, now } = asked;
  checkEntityName("network", name);
  checkIpv6(network6, gateway6);
  return {
    uuid,
    name,
    macPrefix: macPrefix === null ? null : normalizeMacPrefix(macPrefix),
    network6,
    gateway,
    gateway6,
    ...reservedIps.reduce((pool, ip) => ({ network, ...reserve(pool, ip, "external") }), {
      network,
      ...newReservations(network, gateway),
    }),
    tags: addTags([], tags),
    ctime: now,
    mtime: now,
    serialNo: 0,
  };
}

/** Null takes away what is set; undefined leaves it. */
export interface NetworkChange {
  readonly gateway?: string | null;
  readonly network6?: string | null;
  readonly gateway6?: string | null;
  readonly macPrefix?: string;
  readonly addReservedIps: readonly string[];
  readonly removeReservedIps: readonly string[];
}

/**
 * The row after a change. The address of a gateway that goes is free again.
 * @returns also what was asked for and is so already, in words
 * @throws OpPrereqError `wrong_input` or `resource_not_unique`, naming the address
 */
export function changedNetwork(
  network: Network,
  change: NetworkChange,
): { readonly network: Network; readonly notes: readonly string[] } {
  const gateway = change.gateway === undefined ? network.gateway : change.gateway;
  const notes: string[] = [];
  let pool = network;
  if (gateway !== network.gateway) {
    if (network.gateway !== null) pool = { ...pool, ...release(pool, network.gateway, "external") };
    if (gateway !== null) pool = { ...pool, ...reserve(pool, gateway, "external") };
  }
  for (const ip of change.addReservedIps) {
    if (isKeptForOthers(pool, ip)) notes.push(`IP address ${ip} is already reserved`);
    else pool = { ...pool, ...reserve(pool, ip, "external") };
  }
  for (const ip of change.removeReservedIps) {
    if (ip === gateway || isEnd(network, ip))
      throw new OpPrereqError(
        `${ip} is the gateway, network or broadcast address of ${network.name} and stays reserved`,
        "wrong_input",
      );
    if (isKeptForOthers(pool, ip)) pool = { ...pool, ...release(pool, ip, "external") };
    else notes.push(`IP address ${ip} is not reserved`);
  }
  const network6 = change.network6 === undefined ? network.network6 : change.network6;
  const gateway6 = change.gateway6 === undefined ? network.gateway6 : change.gateway6;
  checkIpv6(network6, gateway6);
  const macPrefix = change.macPrefix === undefined ? network.macPrefix : normalizeMacPrefix(change.macPrefix);
  return { network: { ...pool, gateway, network6, gateway6, macPrefix }, notes };
}

/** @throws OpPrereqError `wrong_input` when the address is not in the network */
function isKeptForOthers(pool: Network, ip: string): boolean {
  return isReserved({ ...pool, reservations: "" }, ip);
}

/** Whether it is the network's own or its broadcast address. */
function isEnd({ network }: Pick<Network, "network">, ip: string): boolean {
  const unused = { network, ...newReservations(network, null) };
  return contains(unused, ip) && isReserved(unused, ip);
}

function checkIpv6(network6: string | null, gateway6: string | null): void {
  if (network6 !== null && !isIpv6Network(network6))
    throw new OpPrereqError(`'${network6}' is no IPv6 network such as 2001:db8::/64`, "wrong_input");
  if (gateway6 === null) return;
  if (!isIpv6(gateway6)) throw new OpPrereqError(`'${gateway6}' is no IPv6 address`, "wrong_input");
  if (network6 === null) throw new OpPrereqError("gateway6 needs network6", "wrong_input");
  if (!ipv6Contains(network6, gateway6))
    throw new OpPrereqError(`${gateway6} is no address of network ${network6}`, "wrong_input");
}

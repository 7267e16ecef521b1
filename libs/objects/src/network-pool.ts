/**
 * The addresses of an IPv4 network: which are taken by instances, which are kept for others, which are free.
 * Two strings of the network's row say so, with one character an address, `1` for taken
 * (spec/config.json, `network`).
 */
import { OpPrereqError } from "@gannet/errors";
import type { Ipv4Network } from "./ip-address.ts";
import { ipv4ToNumber, numberToIpv4, parseIpv4Network } from "./ip-address.ts";
import type { Network } from "./model.ts";

/** The parts of a network's row that a pool is made of. */
export type NetworkPool = Pick<Network, "network" | "reservations" | "extReservations">;
export type Reservations = Pick<Network, "reservations" | "extReservations">;

/** Instances hold `instance` reservations; an operator keeps addresses for other machines by `external` ones. */
export type ReservationKind = "instance" | "external";

/** Smaller networks have no room between network and broadcast address. */
const LONGEST_PREFIX = 30;
/** A network's row holds two characters an address; 65,536 addresses keep it at 128 KiB. */
const SHORTEST_PREFIX = 16;

const FREE = "0";
const TAKEN = "1";

/**
 * The reservations of a new network: its own address, its broadcast address and its gateway are external.
 * @throws OpPrereqError `wrong_input` when it is no IPv4 network, too large or too small, or the gateway is
 *   not in it
 */
export function newReservations(network: string, gateway: string | null): Reservations {
  const { size, prefix } = poolNetwork(network);
  if (prefix > LONGEST_PREFIX || prefix < SHORTEST_PREFIX)
    throw new OpPrereqError(
      `Network ${network} must have a prefix between /${SHORTEST_PREFIX} and /${LONGEST_PREFIX}`,
      "wrong_input",
    );
  const empty = { network, reservations: FREE.repeat(size), extReservations: FREE.repeat(size) };
  const ends = withBit(withBit(empty.extReservations, 0, TAKEN), size - 1, TAKEN);
  if (gateway === null) return { reservations: empty.reservations, extReservations: ends };
  const index = indexOf(empty, gateway);
  if (ends[index] === TAKEN)
    throw new OpPrereqError(`${gateway} is the network or broadcast address of ${network}, no gateway`, "wrong_input");
  return { reservations: empty.reservations, extReservations: withBit(ends, index, TAKEN) };
}

/** Whether the address lies in the network. */
export function contains(pool: Pick<NetworkPool, "network">, ip: string): boolean {
  const network = parseIpv4Network(pool.network);
  const address = ipv4ToNumber(ip);
  return network !== undefined && address !== undefined && offsetIn(network, address) !== undefined;
}

/** @throws OpPrereqError `wrong_input` when the address is not in the network */
export function isReserved(pool: NetworkPool, ip: string): boolean {
  return taken(pool, indexOf(pool, ip));
}

/**
 * The reservations with one more.
 * @throws OpPrereqError `resource_not_unique` when the address is taken, `wrong_input` when it is not in the network
 */
export function reserve(pool: NetworkPool, ip: string, kind: ReservationKind): Reservations {
  const index = indexOf(pool, ip);
  if (taken(pool, index))
    throw new OpPrereqError(`IP address ${ip} is already reserved in network ${pool.network}`, "resource_not_unique");
  return change(pool, index, kind, TAKEN);
}

/**
 * The reservations with one less.
 * @throws OpPrereqError `wrong_state` when the address has no reservation of that kind, `wrong_input` when it
 *   is not in the network
 */
export function release(pool: NetworkPool, ip: string, kind: ReservationKind): Reservations {
  const index = indexOf(pool, ip);
  if (bitsOf(pool, kind)[index] !== TAKEN)
    throw new OpPrereqError(`IP address ${ip} has no ${kind} reservation in network ${pool.network}`, "wrong_state");
  return change(pool, index, kind, FREE);
}

/** The lowest free address; undefined when there is none. */
export function nextFree(pool: NetworkPool): string | undefined {
  const { first, size } = poolNetwork(pool.network);
  for (let index = 0; index < size; index++) if (!taken(pool, index)) return numberToIpv4(first + index);
  return undefined;
}

/** One character an address, as queries show it: `X` taken, `.` free. */
export function addressMap(pool: NetworkPool): string {
  let map = "";
  for (let index = 0; index < pool.reservations.length; index++) map += taken(pool, index) ? "X" : ".";
  return map;
}

/** Addresses that are free. */
export function freeCount(pool: NetworkPool): number {
  let count = 0;
  for (let index = 0; index < pool.reservations.length; index++) if (!taken(pool, index)) count++;
  return count;
}

/** Addresses taken, by whomever. */
export function reservedCount(pool: NetworkPool): number {
  return pool.reservations.length - freeCount(pool);
}

/** The addresses kept for others, in rising order. */
export function externalReservations(pool: NetworkPool): readonly string[] {
  const { first } = poolNetwork(pool.network);
  return [...pool.extReservations].flatMap((bit, index) => (bit === TAKEN ? [numberToIpv4(first + index)] : []));
}

function poolNetwork(text: string): Ipv4Network {
  const network = parseIpv4Network(text);
  if (network === undefined)
    throw new OpPrereqError(`'${text}' is no IPv4 network such as 192.0.2.0/24`, "wrong_input");
  return network;
}

function indexOf(pool: Pick<NetworkPool, "network">, ip: string): number {
  const address = ipv4ToNumber(ip);
  const index = address === undefined ? undefined : offsetIn(poolNetwork(pool.network), address);
  if (index === undefined) throw new OpPrereqError(`${ip} is no address of network ${pool.network}`, "wrong_input");
  return index;
}

function offsetIn({ first, size }: Ipv4Network, address: number): number | undefined {
  const offset = address - first;
  return offset >= 0 && offset < size ? offset : undefined;
}

function taken(pool: Reservations, index: number): boolean {
  return pool.reservations[index] === TAKEN || pool.extReservations[index] === TAKEN;
}

function bitsOf(pool: Reservations, kind: ReservationKind): string {
  return kind === "instance" ? pool.reservations : pool.extReservations;
}

function change({ reservations, extReservations }: Reservations, index: number, kind: ReservationKind, bit: string) {
  return kind === "instance"
    ? { reservations: withBit(reservations, index, bit), extReservations }
    : { reservations, extReservations: withBit(extReservations, index, bit) };
}

function withBit(bits: string, index: number, bit: string): string {
  return bits.slice(0, index) + bit + bits.slice(index + 1);
}

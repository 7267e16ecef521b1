/** IP addresses as values: checked, and for IPv4 as numbers to count with. */
import { z } from "zod";

const ipv4Schema = z.ipv4();
const ipv6Schema = z.ipv6();
const ipv6NetworkSchema = z.cidrv6();

export function isIpv4(text: string): boolean {
  return ipv4Schema.safeParse(text).success;
}

export function isIpv6(text: string): boolean {
  return ipv6Schema.safeParse(text).success;
}

/** An IPv6 network in the form `2001:db8::/64`. */
export function isIpv6Network(text: string): boolean {
  return ipv6NetworkSchema.safeParse(text).success;
}

/** An IPv4 address as an unsigned number; undefined when it is none. */
export function ipv4ToNumber(text: string): number | undefined {
  if (!isIpv4(text)) return undefined;
  return text.split(".").reduce((number, octet) => number * 256 + Number(octet), 0);
}

export function numberToIpv4(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}

/** An IPv4 network: its first address as a number, and how many addresses it has. */
export interface Ipv4Network {
  readonly first: number;
  readonly size: number;
  readonly prefix: number;
}

/** `192.0.2.0/28`; undefined when it is no network, or has bits set behind its prefix. */
export function parseIpv4Network(text: string): Ipv4Network | undefined {
  const [address = "", prefixText = "", ...rest] = text.split("/");
  const first = ipv4ToNumber(address);
  if (first === undefined || rest.length > 0 || !/^\d{1,2}$/.test(prefixText)) return undefined;
  const prefix = Number(prefixText);
  if (prefix > 32) return undefined;
  const size = 2 ** (32 - prefix);
  return first % size === 0 ? { first, size, prefix } : undefined;
}

/** Whether an IPv6 address lies in a network such as `2001:db8::/64`. */
export function ipv6Contains(network: string, address: string): boolean {
  const [base = "", prefix = ""] = network.split("/");
  const [first, found] = [ipv6ToNumber(base), ipv6ToNumber(address)];
  if (first === undefined || found === undefined || !isIpv6Network(network)) return false;
  const hostBits = BigInt(IPV6_BITS - Number(prefix));
  return first >> hostBits === found >> hostBits;
}

const IPV6_BITS = 128;
const IPV6_GROUPS = 8;

function ipv6ToNumber(text: string): bigint | undefined {
  if (!isIpv6(text)) return undefined;
  const [head = "", tail] = text.split("::").map(groupsOf);
  const [left, right] = [groupList(head), tail === undefined ? [] : groupList(tail)];
  const zeros = Array<string>(IPV6_GROUPS - left.length - right.length).fill("0");
  return [...left, ...zeros, ...right].reduce((number, group) => (number << 16n) | BigInt(`0x${group}`), 0n);
}

/** An IPv4 address at the end stands for two groups. */
function groupsOf(text: string): string {
  const ipv4 = /[\d.]*\.[\d.]*$/.exec(text)?.[0];
  const number = ipv4 === undefined ? undefined : ipv4ToNumber(ipv4);
  if (ipv4 === undefined || number === undefined) return text;
  return `${text.slice(0, -ipv4.length)}${(number >>> 16).toString(16)}:${(number & 0xffff).toString(16)}`;
}

function groupList(text: string): readonly string[] {
  return text === "" ? [] : text.split(":");
}

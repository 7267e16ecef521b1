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

/** MAC addresses of NICs: made, checked, and brought to one form. */
import { OpPrereqError } from "@gannet/errors";

const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/;
const PREFIX = /^[0-9a-f]{2}(?::[0-9a-f]{2}){2}$/;
/** The lowest bit of the first octet marks group addresses, which no interface may have (IEEE 802, 8.2). */
const GROUP_BIT = 1;
/** With a million addresses behind a prefix, this many misses in a row mean that they are used up. */
const ATTEMPTS = 64;

/** Random octets that one address needs behind its prefix. */
export const MAC_RANDOM_BYTES = 3;

/**
 * The one form of a MAC address: six lower-case octets joined by colons.
 * @throws OpPrereqError `wrong_input` when it is none, or is a group address
 */
export function normalizeMac(mac: string): string {
  const normal = mac.toLowerCase();
  if (!MAC.test(normal) || isGroup(normal))
    throw new OpPrereqError(`Invalid MAC address '${mac}': give one such as aa:00:00:12:34:56`, "wrong_input");
  return normal;
}

/**
 * The one form of a MAC prefix: three lower-case octets.
 * @throws OpPrereqError `wrong_input`
 */
export function normalizeMacPrefix(prefix: string): string {
  const normal = prefix.toLowerCase();
  if (!PREFIX.test(normal) || isGroup(normal))
    throw new OpPrereqError(`Invalid MAC prefix '${prefix}': give three octets such as aa:00:00`, "wrong_input");
  return normal;
}

/** The address of a prefix and {@link MAC_RANDOM_BYTES} bytes. */
export function macFromBytes(prefix: string, bytes: Uint8Array): string {
  const octets = [...bytes.subarray(0, MAC_RANDOM_BYTES)].map((byte) => byte.toString(16).padStart(2, "0"));
  return [prefix, ...octets].join(":");
}

/**
 * An address with this prefix that nothing has yet.
 * @param randomBytes - answers as many random bytes as it is asked for
 * @throws OpPrereqError `insufficient_resources` when no free one was found
 */
export function generateMac(
  prefix: string,
  isTaken: (mac: string) => boolean,
  randomBytes: (count: number) => Uint8Array,
): string {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const mac = macFromBytes(prefix, randomBytes(MAC_RANDOM_BYTES));
    if (!isTaken(mac)) return mac;
  }
  throw new OpPrereqError(`No free MAC address found with prefix ${prefix}`, "insufficient_resources");
}

function isGroup(mac: string): boolean {
  return (Number.parseInt(mac.slice(0, 2), 16) & GROUP_BIT) === GROUP_BIT;
}

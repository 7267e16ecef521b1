/** The name of a NIC's interface on the node. */

/**
 * 15 characters, the most Linux allows: a prefix and 48 random bits of the NIC's UUID. The same NIC always has the
 * same interface, so one that a killed agent left behind is found again.
 */
export function tapName(nicUuid: string): string {
  return `gnt${nicUuid.replaceAll("-", "").slice(0, 12)}`;
}

/** Whether it is a name that {@link tapName} makes. */
export function isTapName(name: string): boolean {
  return /^gnt[0-9a-f]{12}$/.test(name);
}

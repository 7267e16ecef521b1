/** IP addresses and networks. */
import { z } from "zod";

export const ipv4 = z.ipv4({ error: "must be an IPv4 address" });
export const ipv6 = z.ipv6({ error: "must be an IPv6 address" });
export const ipv4Net = z.cidrv4({ error: "must be an IPv4 network such as 192.0.2.0/24" });
export const ipv6Net = z.cidrv6({ error: "must be an IPv6 network such as 2001:db8::/64" });

export const ip = z.union([ipv4, ipv6], { error: "must be an IPv4 or IPv6 address" });

/** The word that takes away what is set. */
const none = z.literal("none");
export const ipv4OrNone = z.union([none, ipv4], { error: 'must be an IPv4 address or "none"' });
export const ipv6OrNone = z.union([none, ipv6], { error: 'must be an IPv6 address or "none"' });
export const ipv6NetOrNone = z.union([none, ipv6Net], { error: 'must be an IPv6 network or "none"' });

/** The first three bytes of a MAC address, in lower case. */
export const macPrefix = z
  .string()
  .regex(/^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){2}$/, { error: "must be three bytes of a MAC address such as aa:00:00" })
  .transform((prefix) => prefix.toLowerCase());

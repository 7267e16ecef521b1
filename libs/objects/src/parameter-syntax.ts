/** The forms a parameter's text may be required to have (spec/config.json, `check`), by name. */
import { isIpv4, isIpv6 } from "./ip-address.ts";

interface SyntaxRule {
  readonly accepts: (value: string) => boolean;
  /** Ends the sentence "parameter x must be …". */
  readonly wanted: string;
}

const URL_START = /^(?:https?|ftps?|tftp):\/\/[^/]/;
const INTERFACE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}$/;
/** Processors that can be named in a mask; far beyond any host's. */
const MOST_CPUS = 4096;

/** An absolute path without `.`, `..`, doubled or trailing slashes. */
export function isNormalizedPath(value: string): boolean {
  if (value === "/") return true;
  if (!value.startsWith("/")) return false;
  return value
    .slice(1)
    .split("/")
    .every((part) => part !== "" && part !== "." && part !== "..");
}

/** Whether a CD-ROM image is fetched by the hypervisor itself instead of being a file on the node. */
export function isImageUrl(value: string): boolean {
  return URL_START.test(value);
}

/** `0,2-4`: numbers and rising ranges. */
function isCpuList(value: string): boolean {
  return value.split(",").every((part) => {
    const [, low, high = low] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    return low !== undefined && Number(low) <= Number(high) && Number(high) < MOST_CPUS;
  });
}

/** Whether it can name an interface, bridge or switch, and be part of a path below /sys/class/net. */
export function isInterfaceName(value: string): boolean {
  return INTERFACE_NAME.test(value);
}

const RULES = {
  "absolute-path": { accepts: isNormalizedPath, wanted: "an absolute path without '.', '..' or doubled slashes" },
  "absolute-path-or-url": {
    accepts: (value) => isNormalizedPath(value) || isImageUrl(value),
    wanted: "an absolute path without '.', '..' or doubled slashes, or a http, https, ftp, ftps or tftp URL",
  },
  "cpu-list": { accepts: isCpuList, wanted: "a list of processors such as 0,2-4" },
  "cpu-mask": {
    accepts: (value) => value.split(":").every((part) => part === "all" || isCpuList(part)),
    wanted: "'all', or a list of processors for each virtual one, such as 0:2-3:all",
  },
  "xen-boot-order": { accepts: (value) => /^[acdn]+$/.test(value), wanted: "made of the letters a, c, d and n" },
  ipv4: { accepts: isIpv4, wanted: "an IPv4 address" },
  "listen-address": {
    accepts: (value) => isIpv4(value) || isIpv6(value) || isInterfaceName(value) || isNormalizedPath(value),
    wanted: "an IP address, the name of a network interface, or an absolute path for a unix socket",
  },
  "ip-or-interface": {
    accepts: (value) => isIpv4(value) || isIpv6(value) || isInterfaceName(value),
    wanted: "an IP address or the name of a network interface",
  },
  "drbd-barriers": {
    accepts: (value) => value === "n" || (/^[bdf]{1,3}$/.test(value) && new Set(value).size === value.length),
    wanted: "'n', or some of the letters b, f and d",
  },
} as const satisfies Record<string, SyntaxRule>;

export type ParameterSyntax = keyof typeof RULES;

/** Undefined when the value has the form, else what it must be: "an absolute path …". */
export function syntaxProblem(syntax: ParameterSyntax, value: string): string | undefined {
  const rule: SyntaxRule = RULES[syntax];
  return rule.accepts(value) ? undefined : rule.wanted;
}

/** A DRBD disk's parameters (libs/objects, DISK_PARAMETERS) as drbdsetup's options. */
import { DISK_PARAMETERS, type Parameters } from "@gannet/objects";

export interface DrbdParameters {
  readonly protocol: "A" | "B" | "C";
  /** Of `attach`: which write barriers and flushes are not used, and what the site adds. */
  readonly diskOptions: readonly string[];
  /** Of `connect`: what the site adds. */
  readonly netOptions: readonly string[];
  /** Speed of a resync: of `disk-options` (8.4) or `peer-device-options` (9). */
  readonly resyncOptions: readonly string[];
}

const TABLE = DISK_PARAMETERS.drbd;

/** In the order drbdsetup's manual has them; the letters are those of `disk-barriers`. */
const BARRIERS = [
  ["b", "--disk-barrier=no"],
  ["d", "--disk-drain=no"],
  ["f", "--disk-flushes=no"],
] as const;

/** What DRBD's options are made of; nothing that would need quoting. */
const CUSTOM_WORD = /^[\w.,:=/+-]+$/;

export function drbdParameters(params: Parameters, refuse: (problem: string) => never): DrbdParameters {
  const value = (name: string): unknown => params[name] ?? TABLE[name]?.default;
  const whole = (name: string): number => {
    const found = value(name);
    return typeof found === "number" && Number.isSafeInteger(found) && found >= 0
      ? found
      : refuse(`parameter ${name} is no whole number`);
  };
  const words = (name: string): readonly string[] => {
    const found = String(value(name)).split(/\s+/).filter(Boolean);
    return found.every((word) => CUSTOM_WORD.test(word))
      ? found
      : refuse(`parameter ${name} holds a special character`);
  };
  const protocol = value("protocol");
  if (protocol !== "A" && protocol !== "B" && protocol !== "C") return refuse("parameter protocol is not A, B or C");
  const disabled = String(value("disk-barriers"));
  return {
    protocol,
    diskOptions: [
      ...BARRIERS.filter(([letter]) => disabled.includes(letter)).map(([, option]) => option),
      ...(value("meta-barriers") === true ? ["--md-flushes=no"] : []),
      ...words("disk-custom"),
    ],
    netOptions: words("net-custom"),
    resyncOptions:
      value("dynamic-resync") === true
        ? [
            `--c-plan-ahead=${whole("c-plan-ahead")}`,
            `--c-fill-target=${whole("c-fill-target")}`,
            `--c-delay-target=${whole("c-delay-target")}`,
            `--c-max-rate=${whole("c-max-rate")}k`,
            `--c-min-rate=${whole("c-min-rate")}k`,
          ]
        : // Without planning ahead the rate is what it says; with it, only what the controller begins with.
          ["--c-plan-ahead=0", `--resync-rate=${whole("resync-rate")}k`],
  };
}

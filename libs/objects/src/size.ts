/** Sizes as people and clients write them, in MiB inside. */
import { TypeEnforcementError } from "@gannet/errors";

const MIB_PER_UNIT: Readonly<Record<string, number>> = {
  "": 1,
  m: 1,
  mb: 1,
  mib: 1,
  g: 1024,
  gb: 1024,
  gib: 1024,
  t: 1024 * 1024,
  tb: 1024 * 1024,
  tib: 1024 * 1024,
};

const SIZE = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/i;

/**
 * A size in MiB from a number, or from text with an optional unit (`128`, `"128"`, `"1g"`, `"1.5 GiB"`).
 * Units are binary whichever way they are written, as Ganeti's daemons read them. A fraction of a MiB is
 * rounded up, so that nobody gets less than was asked for.
 * @throws TypeEnforcementError
 */
export function parseSizeMib(value: unknown): number {
  const sizeMib = readSizeMib(value);
  if (sizeMib === undefined)
    throw new TypeEnforcementError(
      `${JSON.stringify(value)} is not a valid size: give MiB as a whole number, or a number with a unit (m, g, t)`,
    );
  return sizeMib;
}

/** As {@link parseSizeMib}, but undefined where that throws. */
export function readSizeMib(value: unknown): number | undefined {
  const mib = typeof value === "string" ? fromText(value) : value;
  if (typeof mib !== "number") return undefined;
  const size = Math.ceil(mib);
  return Number.isSafeInteger(size) && size >= 0 ? size : undefined;
}

function fromText(text: string): number | undefined {
  const [, number, unit = ""] = SIZE.exec(text.trim()) ?? [];
  const factor = MIB_PER_UNIT[unit.toLowerCase()];
  return number === undefined || factor === undefined ? undefined : Number(number) * factor;
}

/** Sizes of memory and disks. */
import { z } from "zod";

/** Mebibytes in each unit; units are binary whatever their spelling, as Ganeti's. */
const MIB_OF_UNIT: Readonly<Record<string, number>> = {
  "": 1,
  m: 1,
  mb: 1,
  mib: 1,
  g: 1024,
  gb: 1024,
  gib: 1024,
  t: 1024 ** 2,
  tb: 1024 ** 2,
  tib: 1024 ** 2,
};

const SIZE_TEXT = /^(\d{1,16}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/;

/**
 * A size in MiB from a whole number of them or from text with an optional unit: `128`, `"128"`, `"1g"`,
 * `"1.5 GiB"`. Fractions of a MiB are rounded up. Undefined for anything else: negative numbers, fractions
 * without a unit, other units, and what a JavaScript number cannot hold exactly.
 */
export function parseSizeMib(given: unknown): number | undefined {
  const sizeMib = typeof given === "string" ? parseSizeText(given) : given;
  return Number.isSafeInteger(sizeMib) && (sizeMib as number) >= 0 ? (sizeMib as number) : undefined;
}

function parseSizeText(given: string): number | undefined {
  const [, amount, unit] = SIZE_TEXT.exec(given) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  const mib = MIB_OF_UNIT[unit.toLowerCase()];
  return mib === undefined ? undefined : Math.ceil(Number(amount) * mib);
}

function sizeOf({ minMib, error }: { readonly minMib: number; readonly error: string }) {
  return z.union([z.int().min(minMib), z.string().regex(SIZE_TEXT)], { error }).transform((given, ctx) => {
    const sizeMib = parseSizeMib(given);
    if (sizeMib !== undefined && sizeMib >= minMib) return sizeMib;
    ctx.addIssue({ code: "custom", message: error });
    return z.NEVER;
  });
}

/** A size in MiB. */
export const size = sizeOf({
  minMib: 0,
  error: 'must be a size: whole MiB, or text with a unit m, g or t such as "1.5g"',
});
/** A size in MiB above zero. */
export const positiveSize = sizeOf({
  minMib: 1,
  error: 'must be a size above zero: whole MiB, or text with a unit m, g or t such as "1.5g"',
});

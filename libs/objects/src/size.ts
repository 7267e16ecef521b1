/** Sizes as people and clients write them, in MiB inside. */

/** Units are binary whichever way they are written, as Ganeti's daemons read them. */
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

/** A size as text; without flags, so that it serves as a JSON Schema pattern too. */
export const SIZE_TEXT: RegExp = /^(\d{1,16}(?:\.\d{1,6})?) ?([A-Za-z]{0,3})$/;

/**
 * A size in MiB from a whole number, or from text with an optional unit: `128`, `"128"`, `"1g"`, `"1.5 GiB"`.
 * In text a fraction of a MiB is rounded up, so that nobody gets less than was asked for. Undefined for
 * anything else, and for what a JavaScript number cannot hold exactly.
 */
export function parseSizeMib(value: unknown): number | undefined {
  const sizeMib = typeof value === "string" ? fromText(value) : value;
  return typeof sizeMib === "number" && Number.isSafeInteger(sizeMib) && sizeMib >= 0 ? sizeMib : undefined;
}

function fromText(text: string): number | undefined {
  const [, number, unit = ""] = SIZE_TEXT.exec(text) ?? [];
  const factor = MIB_PER_UNIT[unit.toLowerCase()];
  return number === undefined || factor === undefined ? undefined : Math.ceil(Number(number) * factor);
}

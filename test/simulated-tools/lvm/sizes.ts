/** Sizes as LVM reads and writes them; its units in lower case are powers of 1024. */

const SUFFIXES = "bkmgtpe";
const LONG_SUFFIXES = ["Byte", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** What --size takes: `128m`, `128M`, `+64m`, `1024k`; MiB when it names no unit. Undefined when it is no size. */
export function parseSize(text: string): { readonly relative: boolean; readonly bytes: bigint } | undefined {
  const parts = /^(\+?)([0-9]+)([bkmgtpe]?)$/i.exec(text);
  if (parts === null) return undefined;
  const [, sign, digits = "", unit] = parts;
  const power = SUFFIXES.indexOf((unit || "m").toLowerCase());
  return { relative: sign === "+", bytes: BigInt(digits) * 1024n ** BigInt(power) };
}

/** In the unit that `--units` names; `h` is the largest that leaves no 0 before the point. */
export function formatSize(bytes: number, units: string, suffix: "short" | "none"): string {
  if (units === "h" || units === "r") return humanSize(bytes, "short");
  const power = SUFFIXES.indexOf(units);
  const ending = suffix === "short" ? (units === "b" ? "B" : units) : "";
  if (bytes === 0 && suffix === "short") return "0 ";
  return `${units === "b" ? bytes : (bytes / 1024 ** power).toFixed(2)}${ending}`;
}

/** `1.46g`, or `<2.99g` for what was rounded up; in messages `128.00 MiB`. */
export function humanSize(bytes: number, suffix: "short" | "long"): string {
  if (bytes === 0 && suffix === "short") return "0 ";
  const power = Math.max(1, Math.min(6, Math.floor(Math.log2(Math.max(bytes, 1)) / 10)));
  const exact = bytes / 1024 ** power;
  const rounded = exact.toFixed(2);
  const sign = Number(rounded) > exact ? "<" : "";
  return `${sign}${rounded}${suffix === "long" ? ` ${LONG_SUFFIXES[power]}` : SUFFIXES[power]}`;
}

/** Values of query fields as text, in the ways that Ganeti's tools write them. Pure. */
import type { QueryFieldKind } from "@gannet/opcodes";

/** `h`: each with the unit that suits it; `m`, `g`, `t`: all in that one, without it. */
export const UNITS = ["h", "m", "g", "t"] as const;
export type Units = (typeof UNITS)[number];

const MIB_PER_GIB = 1024;
const MIB_PER_TIB = 1024 * 1024;

/** A size in MiB: `512M`, `1.5G`; or its number in one unit. */
export function sizeText(mib: number, units: Units): string {
  if (units === "m") return String(Math.round(mib));
  if (units === "g") return (mib / MIB_PER_GIB).toFixed(1);
  if (units === "t") return (mib / MIB_PER_TIB).toFixed(1);
  if (mib < MIB_PER_GIB) return `${Math.round(mib)}M`;
  return mib < MIB_PER_TIB ? `${(mib / MIB_PER_GIB).toFixed(1)}G` : `${(mib / MIB_PER_TIB).toFixed(1)}T`;
}

/** `2026-11-22 12:00:00` in this machine's time zone. @param seconds since 1970 */
export function timeText(seconds: number): string {
  const date = new Date(seconds * 1000);
  const two = (value: number) => String(value).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** A value of a field. */
export function valueText(value: unknown, kind: QueryFieldKind, units: Units): string {
  if (value === null || value === undefined) return "-";
  if (kind === "unit" && typeof value === "number") return sizeText(value, units);
  if (kind === "timestamp" && typeof value === "number") return timeText(value);
  if (typeof value === "boolean") return value ? "Y" : "N";
  if (Array.isArray(value)) return isTimestamp(value) ? timeText(value[0]) : listText(value);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** `[seconds, microseconds]` since 1970, and no list of two small numbers. */
function isTimestamp(value: readonly unknown[]): value is readonly [number, number] {
  const [seconds, micros] = value;
  return value.length === 2 && typeof seconds === "number" && typeof micros === "number" && seconds > 1e9;
}

function listText(list: readonly unknown[]): string {
  return list
    .map((item) =>
      typeof item === "object" && item !== null ? JSON.stringify(item) : item === null ? "-" : String(item),
    )
    .join(",");
}

/** Whether a column's values stand at its right edge. */
export function isNumeric(kind: QueryFieldKind): boolean {
  return kind === "number" || kind === "float" || kind === "unit";
}

/** Printing figures: one JSON object a line. */

/** One measurement, with its goal where the project has set one. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** What it is compared with, taken in the same run. */
  readonly baseline?: number;
  readonly ratio?: number;
  readonly goal?: string;
}

export function print(figure: Figure): void {
  const rounded = Object.fromEntries(
    Object.entries(figure).map(([key, value]) => [
      key,
      typeof value === "number" ? Number(value.toPrecision(4)) : value,
    ]),
  );
  console.log(JSON.stringify(rounded));
}

/** The value below which the given part of all lies. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

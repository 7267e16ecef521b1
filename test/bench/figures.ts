/** Printing figures: one JSON object a line. */
import { readFileSync } from "node:fs";

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

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** How long each of some repetitions takes, in ms, one after another. */
export async function timed(repetitions: number, work: () => Promise<unknown>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < repetitions; round += 1) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return times;
}

/** USER_HZ. */
const TICKS_PER_SECOND = 100;

/** User and system time of all threads of a process so far, in ms (proc_pid_stat(5), fields 14 and 15). */
export function processorMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND;
}

/** Resident memory of a process. */
export function residentKib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

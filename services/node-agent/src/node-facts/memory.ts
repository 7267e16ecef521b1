/** The node's memory, by Linux's own account. */
import { readFile } from "node:fs/promises";

const KIB_PER_MIB = 1024;

export interface HostMemory {
  readonly totalMib: number;
  /** What new work can take without swapping: free, and held by caches that give way. */
  readonly availableMib: number;
}

export async function readMemory(): Promise<HostMemory> {
  return parseMeminfo(await readFile("/proc/meminfo", "utf8"));
}

/** proc_meminfo(5). `MemAvailable` exists since Linux 3.14. */
export function parseMeminfo(text: string): HostMemory {
  return { totalMib: mib(text, "MemTotal"), availableMib: mib(text, "MemAvailable") };
}

function mib(text: string, name: string): number {
  const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
  if (kib === undefined) throw new Error(`/proc/meminfo has no ${name}`);
  return Math.floor(Number(kib) / KIB_PER_MIB);
}

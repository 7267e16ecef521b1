/** Which files some process has open, as the kernel knows of a block device. */
import { readdirSync, readlinkSync } from "node:fs";

/** Paths without symbolic links. Processes that end meanwhile, or that may not be looked at, count as having none. */
export function openFiles(): ReadonlySet<string> {
  return new Set(
    namesIn("/proc")
      .filter((name) => /^[0-9]+$/.test(name))
      .flatMap((pid) => namesIn(`/proc/${pid}/fd`).flatMap((fd) => targetOf(`/proc/${pid}/fd/${fd}`))),
  );
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function targetOf(link: string): string[] {
  try {
    return [readlinkSync(link)];
  } catch {
    return [];
  }
}

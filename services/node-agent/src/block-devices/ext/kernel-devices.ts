/** Block devices as the kernel has them, to tell what an attach has brought from what was there before. */
import { readdir, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { undefinedWhenMissing } from "../../errno.ts";

const BLOCK_DEVICES = "/sys/dev/block";

/** Numbers (`major:minor`) of those that have a size: loop devices and the like are there without one, and unused. */
export async function readyDevices(): Promise<ReadonlySet<string>> {
  const numbers = (await readdir(BLOCK_DEVICES).catch(undefinedWhenMissing)) ?? [];
  const sizes = await Promise.all(
    // What is gone by now, or going, is not ready.
    numbers.map((number) => readFile(path.join(BLOCK_DEVICES, number, "size"), "utf8").catch(() => "0")),
  );
  return new Set(numbers.filter((_, index) => Number(sizes[index]) > 0));
}

/** Undefined when no block device is there. */
export async function deviceNumber(place: string): Promise<string | undefined> {
  const entry = await stat(place, { bigint: true }).catch(undefinedWhenMissing);
  if (!entry?.isBlockDevice()) return undefined;
  // makedev(3): Linux keeps the lower bits of both where they were when there were no others.
  const major = ((entry.rdev >> 8n) & 0xfffn) | ((entry.rdev >> 32n) & ~0xfffn);
  const minor = (entry.rdev & 0xffn) | ((entry.rdev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}

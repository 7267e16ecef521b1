/** The node's processors, by what the kernel shows below /sys/devices/system. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { undefinedWhenMissing } from "../errno.ts";

export interface Processors {
  /** Logical processors that are online. */
  readonly total: number;
  readonly sockets: number;
  readonly numaNodes: number;
}

const SYSTEM = "/sys/devices/system";

/** @param system - where the kernel's tree stands; another one in tests */
export async function readProcessors(system: string = SYSTEM): Promise<Processors> {
  const online = parseIdList((await readFile(path.join(system, "cpu/online"), "utf8")).trim());
  const packages = await Promise.all(
    online.map((cpu) => readWhenThere(path.join(system, `cpu/cpu${cpu}/topology/physical_package_id`))),
  );
  // A kernel without NUMA shows no nodes at all.
  const numaNodes = parseIdList((await readWhenThere(path.join(system, "node/online"))) ?? "0");
  return { total: online.length, sockets: new Set(packages).size, numaNodes: numaNodes.length };
}

/** The kernel's list format: `0-3,8,10-11` (Documentation/admin-guide/cputopology.rst). */
export function parseIdList(text: string): readonly number[] {
  return text.split(",").flatMap((range) => {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(range) ?? [];
    if (first === undefined) throw new Error(`${JSON.stringify(text)} is no list of numbers`);
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
  });
}

async function readWhenThere(file: string): Promise<string | undefined> {
  return (await readFile(file, "utf8").catch(undefinedWhenMissing))?.trim();
}

/** Which control groups this node's kernel shows, and where lxc keeps those of a container (cgroups(7)). */
import { access, readdir, readFile } from "node:fs/promises";
import path from "node:path";

/** Version 1 has a tree for each controller, version 2 one for all; names and values of settings differ, too. */
export type CgroupVersion = "v1" | "v2";

export const CGROUP_FOLDER = "/sys/fs/cgroup";

export interface Cgroups {
  readonly version: CgroupVersion;
  readonly controllers: readonly string[];
}

/** @param folder - where they are mounted; another one in tests */
export async function readCgroups(folder: string = CGROUP_FOLDER): Promise<Cgroups> {
  const unified = await readFile(path.join(folder, "cgroup.controllers"), "utf8").catch(() => undefined);
  if (unified !== undefined) return { version: "v2", controllers: unified.trim().split(/\s+/) };
  return { version: "v1", controllers: await readdir(folder).catch(() => []) };
}

/** lxc from 4.0 on, and before. */
const CONTAINER_FOLDERS = [(name: string) => `lxc.payload.${name}`, (name: string) => path.join("lxc", name)];

/** Processor time that a container has used, in seconds; 0 where nobody counts it. */
export async function containerCpuSeconds(guestName: string, folder: string = CGROUP_FOLDER): Promise<number> {
  for (const place of CONTAINER_FOLDERS) {
    const [unified, separate] = await Promise.all([
      readFile(path.join(folder, place(guestName), "cpu.stat"), "utf8").catch(() => ""),
      readFile(path.join(folder, "cpuacct", place(guestName), "cpuacct.usage"), "utf8").catch(() => ""),
    ]);
    const microseconds = /^usage_usec (\d+)$/m.exec(unified)?.[1];
    if (microseconds !== undefined) return Number(microseconds) / 1e6;
    if (/^\d+\s*$/.test(separate)) return Number(separate) / 1e9;
  }
  return 0;
}

/** Whether the kernel counts swap for groups of version 1 (`swapaccount`). */
export function countsSwap(folder: string = CGROUP_FOLDER): Promise<boolean> {
  return access(path.join(folder, "memory", "memory.memsw.limit_in_bytes")).then(
    () => true,
    () => false,
  );
}

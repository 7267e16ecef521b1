/** The small file system from which a node, or a guest, starts: the archive that is kept, and one of scripts. */
import { chmod, copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { pack } from "./modules.ts";

/** Scripts of a node, and the units of one with systemd, by their names in its initramfs. */
export const NODE_SCRIPTS = {
  init: besides("initramfs-init"),
  "node-init": besides("node-init"),
  "node-functions": besides("node-functions"),
  "lab-machine.service": besides("lab-machine.service"),
  "lab-commands.service": besides("lab-commands.service"),
} as const;

/**
 * The whole initramfs: the kernel unpacks archives that follow each other into one file system.
 * @param scripts - files that become executable under the names they are given
 * @param folder - for the files meanwhile; made here
 */
export async function writeInitramfs(
  modules: string,
  {
    scripts,
    folder,
    target,
  }: { readonly scripts: Readonly<Record<string, string>>; readonly folder: string; readonly target: string },
  runner: CommandRunner,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, source] of Object.entries(scripts)) {
    await copyFile(source, path.join(folder, name));
    await chmod(path.join(folder, name), 0o755);
  }
  const archive = path.join(folder, "scripts.cpio");
  await pack(folder, Object.keys(scripts), archive, runner);
  await writeFile(target, Buffer.concat([await readFile(modules), await readFile(archive)]));
}

function besides(name: string): string {
  return path.join(import.meta.dirname, name);
}

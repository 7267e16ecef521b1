/** The part of an initramfs that is kept with the image: busybox and kernel modules, in one archive. */
import { copyFile, mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";

const CPIO = "/usr/bin/cpio";

/**
 * Make the archive of busybox and modules.
 * @param wanted - names of modules, loaded in this order, each after those it needs
 * @param places - `root`: the unpacked root file system, whose busybox and modules are taken; `folder`: for the
 *   files meanwhile, made here
 */
export async function packModules(
  wanted: readonly string[],
  places: {
    readonly root: string;
    readonly kernelVersion: string;
    readonly folder: string;
    readonly archive: string;
  },
  runner: CommandRunner,
): Promise<void> {
  const { root, folder } = places;
  const names = ["bin", "dev", "lower", "modules", "newroot", "proc", "sys", "upper"];
  for (const name of names) await mkdir(path.join(folder, name), { recursive: true });
  await copyFile(path.join(root, "bin/busybox"), path.join(folder, "bin/busybox"));
  names.push("bin/busybox");
  const modules = path.join(root, "lib/modules", places.kernelVersion);
  const order = loadOrder(await readFile(path.join(modules, "modules.dep"), "utf8"), wanted);
  for (const [index, module] of order.entries()) {
    const name = `modules/${String(index).padStart(3, "0")}-${path.basename(module)}`;
    await copyFile(path.join(modules, module), path.join(folder, name));
    names.push(name);
  }
  await pack(folder, names, places.archive, runner);
}

/** Make an archive of files and folders, which belong to root there. @param names - below `folder` */
export async function pack(
  folder: string,
  names: readonly string[],
  archive: string,
  runner: CommandRunner,
): Promise<void> {
  await runner.run({
    argv: [CPIO, "--create", "--format=newc", "--quiet", "--owner=+0:+0", `--file=${archive}`],
    cwd: folder,
    input: `${names.join("\n")}\n`,
    timeoutMs: 30_000,
  });
}

/**
 * Each module after those that it needs.
 * @param table - modules.dep(5): a module, a colon, and all that it needs, the deepest last
 * @throws Error naming a module that is not in the table
 */
function loadOrder(table: string, wanted: readonly string[]): readonly string[] {
  const chains = new Map<string, readonly string[]>();
  for (const line of table.split("\n")) {
    const [module = "", needed = ""] = line.split(":");
    const needs = needed.split(" ").filter((name) => name !== "");
    chains.set(path.basename(module, ".ko"), [...needs.reverse(), module]);
  }
  const files = wanted.flatMap((name) => {
    const chain = chains.get(name);
    if (chain === undefined) throw new Error(`the kernel has no module ${name}`);
    return chain;
  });
  return [...new Set(files)];
}

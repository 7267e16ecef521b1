/** The external storage providers of this node, usable or not, as OP_EXT_STORAGE_DIAGNOSE tells of them. */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import type { ExtStorageProvider } from "@gannet/rpc";
import { isErrno } from "../../errno.ts";
import { findProvider, PARAMETERS_FILE, PROVIDER_NAME } from "./provider.ts";

/** In the order of their names; of several with one name the first on the search path, which is the one that is used. */
export async function describeProviders(searchPath: readonly string[]): Promise<readonly ExtStorageProvider[]> {
  const folders = new Map<string, string>();
  for (const root of searchPath)
    for (const entry of await foldersIn(root))
      if (PROVIDER_NAME.test(entry) && !folders.has(entry)) folders.set(entry, path.join(root, entry));
  const sorted = [...folders].sort(([a], [b]) => (a < b ? -1 : 1));
  return Promise.all(sorted.map(([name, folder]) => describeProvider(name, folder)));
}

async function foldersIn(root: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(root, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory() || entry.isSymbolicLink()).map(({ name }) => name);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR", "EACCES")) return [];
    throw error;
  }
}

async function describeProvider(name: string, folder: string): Promise<ExtStorageProvider> {
  try {
    await findProvider(name, [path.dirname(folder)]);
    return { name, path: folder, valid: true, problem: "", parameters: await parametersOf(folder) };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return { name, path: folder, valid: false, problem, parameters: [] };
  }
}

/** One a line: its name, a blank, and what it is for. */
async function parametersOf(folder: string): Promise<ExtStorageProvider["parameters"]> {
  const text = await readFile(path.join(folder, PARAMETERS_FILE), "utf8");
  return text.split("\n").flatMap((line) => {
    const [, name, help = ""] = /^(\S+)(?:\s+(.*))?$/.exec(line.trim()) ?? [];
    return name === undefined ? [] : [{ name, help: help.trim() }];
  });
}

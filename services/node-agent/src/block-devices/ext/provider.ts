/** External storage providers of this node: folders of scripts, as Ganeti has them (spec/node-ops.json, `storage.ext`). */
import { constants } from "node:fs";
import { access, readFile, stat } from "node:fs/promises";
import path from "node:path";
import { BlockDeviceError } from "@gannet/errors";
import { isErrno, undefinedWhenMissing } from "../../errno.ts";

export const GANETI_EXT_STORAGE_SEARCH_PATH: readonly string[] = [
  "/srv/ganeti/extstorage",
  "/usr/local/lib/ganeti/extstorage",
  "/usr/lib/ganeti/extstorage",
  "/usr/share/ganeti/extstorage",
];

const REQUIRED_SCRIPTS = ["create", "remove", "grow", "attach", "detach", "setinfo", "verify"] as const;
const OPTIONAL_SCRIPTS = ["snapshot", "open", "close"] as const;
export type ExtScript = (typeof REQUIRED_SCRIPTS)[number] | (typeof OPTIONAL_SCRIPTS)[number];

export interface ExtProvider {
  readonly name: string;
  readonly folder: string;
  /** Those that it has. */
  readonly scripts: ReadonlySet<ExtScript>;
  /** Names of the parameters that its disks may have, in lower case. */
  readonly parameters: ReadonlySet<string>;
}

export const PROVIDER_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,127}$/;
export const PARAMETERS_FILE = "parameters.list";

/**
 * The first of that name on the search path.
 * @throws BlockDeviceError when there is none, or it lacks a script
 */
export async function findProvider(name: string, searchPath: readonly string[]): Promise<ExtProvider> {
  if (!PROVIDER_NAME.test(name))
    throw new BlockDeviceError(`${JSON.stringify(name.slice(0, 200))} is no name of an external storage provider`);
  for (const root of searchPath) {
    const folder = path.join(root, name);
    const entry = await stat(folder).catch(undefinedWhenMissing);
    if (entry?.isDirectory()) return readProvider(name, folder);
  }
  throw new BlockDeviceError(
    `This node has no external storage provider ${name}; one is a folder of that name in ${searchPath.join(", ")}`,
  );
}

async function readProvider(name: string, folder: string): Promise<ExtProvider> {
  const present = await Promise.all(
    [...REQUIRED_SCRIPTS, ...OPTIONAL_SCRIPTS].map(async (script) =>
      (await isExecutable(path.join(folder, script))) ? [script] : [],
    ),
  );
  const scripts = new Set<ExtScript>(present.flat());
  const missing = REQUIRED_SCRIPTS.filter((script) => !scripts.has(script));
  if (missing.length > 0)
    throw new BlockDeviceError(
      `The external storage provider in ${folder} has no executable script ${missing.join(", ")}`,
    );
  return { name, folder, scripts, parameters: await readParameters(folder) };
}

async function isExecutable(script: string): Promise<boolean> {
  try {
    await access(script, constants.X_OK);
    return (await stat(script)).isFile();
  } catch (error) {
    if (isErrno(error, "ENOENT", "EACCES")) return false;
    throw error;
  }
}

/** One a line, its name before the first blank; what follows is for people. */
async function readParameters(folder: string): Promise<ReadonlySet<string>> {
  const text = await readFile(path.join(folder, PARAMETERS_FILE), "utf8").catch((error: unknown) => {
    throw new BlockDeviceError(`The external storage provider in ${folder} has no readable ${PARAMETERS_FILE}`, {
      cause: error,
    });
  });
  const names = text.split("\n").map((line) => line.trim().split(/\s+/)[0] ?? "");
  return new Set(names.filter(Boolean).map((each) => each.toLowerCase()));
}

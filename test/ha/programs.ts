/** The daemons and the operator's programs in one file each, as packages ship them. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { GANNET_VERSION } from "@gannet/objects";
import { bundleProgram, REPOSITORY } from "../../deploy/packages/bundle.ts";

export interface Programs {
  readonly master: string;
  readonly agent: string;
  /** `gannet-node` */
  readonly node: string;
  /** `gannet-admin` */
  readonly admin: string;
  readonly gnt: string;
}

const ENTRIES: Readonly<Record<keyof Programs, readonly [entry: string, bundle: string]>> = {
  master: ["services/master/src/main.ts", "master.mjs"],
  agent: ["services/node-agent/src/main.ts", "node-agent.mjs"],
  node: ["services/node-agent/src/program.ts", "node.mjs"],
  admin: ["services/admin/src/main.ts", "admin.mjs"],
  gnt: ["services/cli/src/main.ts", "gnt.mjs"],
};

/**
 * @param folder - receives them, and the Lua scripts beside them
 * @param version - what the daemons take for their own version; their real one if absent
 */
export async function bundlePrograms(folder: string, version?: string): Promise<Programs> {
  await mkdir(folder, { recursive: true });
  const bundle = async (name: keyof Programs) => {
    const [entry, file] = ENTRIES[name];
    await bundleProgram(entry, path.join(folder, file), { ownFolders: "in-repository" });
    return path.join(folder, file);
  };
  const programs: Programs = {
    master: await bundle("master"),
    agent: await bundle("agent"),
    node: await bundle("node"),
    admin: await bundle("admin"),
    gnt: await bundle("gnt"),
  };
  for (const library of ["config-store", "job-ledger", "locking"])
    await cp(path.join(REPOSITORY, "libs", library, "src/lua"), path.join(folder, "lua"), { recursive: true });
  if (version !== undefined) for (const file of [programs.master, programs.agent]) await renumber(file, version);
  return programs;
}

async function renumber(file: string, version: string): Promise<void> {
  const text = await readFile(file, "utf8");
  const renumbered = text.replaceAll(`"${GANNET_VERSION}"`, JSON.stringify(version));
  if (renumbered === text) throw new Error(`${file} does not name its version`);
  await writeFile(file, renumbered);
}

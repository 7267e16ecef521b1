/** The daemons in one file each, as packages ship them. */
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { GANNET_VERSION } from "@gannet/objects";
import { bundleProgram, REPOSITORY } from "../../deploy/packages/bundle.ts";

export interface Programs {
  readonly master: string;
  readonly agent: string;
}

/**
 * @param folder - receives them, and the Lua scripts beside them
 * @param version - what they take for their own version; their real one if absent
 */
export async function bundlePrograms(folder: string, version?: string): Promise<Programs> {
  await mkdir(folder, { recursive: true });
  const programs = { master: path.join(folder, "master.mjs"), agent: path.join(folder, "node-agent.mjs") };
  await bundleProgram("services/master/src/main.ts", programs.master, { ownFolders: "in-repository" });
  await bundleProgram("services/node-agent/src/main.ts", programs.agent, { ownFolders: "in-repository" });
  for (const library of ["config-store", "job-ledger", "locking"])
    await cp(path.join(REPOSITORY, "libs", library, "src/lua"), path.join(folder, "lua"), { recursive: true });
  if (version !== undefined) for (const file of Object.values(programs)) await renumber(file, version);
  return programs;
}

async function renumber(file: string, version: string): Promise<void> {
  const text = await readFile(file, "utf8");
  const renumbered = text.replaceAll(`"${GANNET_VERSION}"`, JSON.stringify(version));
  if (renumbered === text) throw new Error(`${file} does not name its version`);
  await writeFile(file, renumbered);
}

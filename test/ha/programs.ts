/** The daemons in one file each, as packages ship them. */
import { cp, mkdir } from "node:fs/promises";
import path from "node:path";
import { bundleProgram, REPOSITORY } from "../../deploy/packages/bundle.ts";

export interface Programs {
  readonly master: string;
  readonly agent: string;
}

/** @param folder - receives them, and the Lua scripts beside them */
export async function bundlePrograms(folder: string): Promise<Programs> {
  await mkdir(folder, { recursive: true });
  const programs = { master: path.join(folder, "master.mjs"), agent: path.join(folder, "node-agent.mjs") };
  await bundleProgram("services/master/src/main.ts", programs.master, { ownFolders: "in-repository" });
  await bundleProgram("services/node-agent/src/main.ts", programs.agent, { ownFolders: "in-repository" });
  for (const library of ["config-store", "job-ledger", "locking"])
    await cp(path.join(REPOSITORY, "libs", library, "src/lua"), path.join(folder, "lua"), { recursive: true });
  return programs;
}

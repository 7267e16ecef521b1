/** The agent in one file, as a package ships it, with its bytecode made on the real processor. */
import { copyFile, cp, readFile } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { build, type Plugin } from "esbuild";
import { REPOSITORY } from "./plan.ts";

const AGENT_MAIN = path.join(REPOSITORY, "services/node-agent/src/main.ts");
/** Packages of the CommonJS kind ask for `require`, which a module does not have. */
const BANNER = 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

/** What a package reads from its own folder it finds where the repository is, which nodes have at the same path. */
const OWN_FOLDERS: Plugin = {
  name: "own-folders",
  setup({ onLoad }) {
    onLoad({ filter: /\/node_modules\/.*\.c?js$/ }, async ({ path: file }) => {
      const contents = await readFile(file, "utf8");
      return { contents: contents.replaceAll(/\b__dirname\b/g, JSON.stringify(path.dirname(file))) };
    });
  },
};

/** Files below the folder that a node shares with the lab. */
export const AGENT_FILES = { bundle: "agent.mjs", compileCache: "compile-cache" } as const;

/**
 * Put the agent into the nodes' folders. From its sources it needs 18 s to start on an emulated processor, where each
 * of its 350 files is stripped of types and compiled; in this form 4 s.
 */
export async function placeAgent(nodeDirs: readonly string[], runner: CommandRunner): Promise<void> {
  const [first, ...others] = nodeDirs;
  if (first === undefined) return;
  const bundle = path.join(first, AGENT_FILES.bundle);
  const compileCache = path.join(first, AGENT_FILES.compileCache);
  await build({
    entryPoints: [AGENT_MAIN],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    keepNames: true,
    banner: { js: BANNER },
    plugins: [OWN_FOLDERS],
    logLevel: "error",
  });
  await runner.run({
    argv: [process.execPath, bundle],
    env: compileCacheOf(compileCache),
    // Without a configuration it ends with a message, and its code is in the cache.
    okExitCodes: [1],
    timeoutMs: 60_000,
  });
  for (const dir of others) {
    await copyFile(bundle, path.join(dir, AGENT_FILES.bundle));
    await cp(compileCache, path.join(dir, AGENT_FILES.compileCache), { recursive: true });
  }
}

/** Environment by which Node finds its bytecode wherever the folder is mounted. */
export function compileCacheOf(folder: string): Readonly<Record<string, string>> {
  return { NODE_COMPILE_CACHE: folder, NODE_COMPILE_CACHE_PORTABLE: "1" };
}

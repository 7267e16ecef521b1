/** The agent's one file in the folders of nodes, with its bytecode made on the real processor. */
import { copyFile, cp } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { bundleAgent } from "../../deploy/packages/agent-bundle.ts";

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
  await bundleAgent(bundle);
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

/** Fails when `libs/rpc/src/generated` is not what `proto/` generates now. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "../..");
const committed = path.join(root, "libs/rpc/src/generated");
const fresh = mkdtempSync(path.join(tmpdir(), "gannet-generated-"));
try {
  const run = spawnSync(process.execPath, [path.join(root, "libs/rpc/generate.ts"), fresh], { stdio: "inherit" });
  const files = (dir: string) =>
    readdirSync(dir, { recursive: true, encoding: "utf8" }).filter((f) => f.endsWith(".ts"));
  const names = new Set([...files(fresh), ...files(committed)]);
  const stale = [...names].filter((name) => read(path.join(fresh, name)) !== read(path.join(committed, name)));
  for (const name of stale) console.error(`${name} is not what proto/ generates: run make generate`);
  console.log(`generated: ${names.size} files, ${stale.length} stale`);
  process.exitCode = run.status === 0 && stale.length === 0 ? 0 : 1;
} finally {
  rmSync(fresh, { recursive: true });
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

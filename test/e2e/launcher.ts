/** Runs of the launcher behind `make run` that are expected to end by themselves. */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";

export const ROOT = path.resolve(import.meta.dirname, "../..");
/** One that does not end by itself is asked to stop, which shows as its exit code. */
const TIMEOUT_MS = 30_000;

export interface Ended {
  /** Exit code; null when a signal ended it. */
  readonly code: number | null;
  /** What it wrote, stdout and stderr. */
  readonly output: string;
}

/** Start it with these GANNET_ variables and no others. */
export function launch(environment: Readonly<Record<string, string>>): ChildProcess {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("GANNET_"));
  return spawn(process.execPath, [path.join(ROOT, "deploy/one-machine/run.ts")], {
    cwd: ROOT,
    env: { ...Object.fromEntries(inherited), ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: TIMEOUT_MS,
  });
}

export function endOf(child: ChildProcess): Promise<Ended> {
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer | string) => {
      output += chunk.toString();
    });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, output }));
  });
}

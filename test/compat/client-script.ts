/** Scripts that use Debian's python3-ganeti-rapi, unchanged. Each answer they get is compared with the API's description. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { startDocumentedProxy } from "./documented-proxy.ts";

const PYTHON = "/usr/bin/python3";
const CLIENT = "/usr/lib/python3/dist-packages/ganeti/rapi/client.py";

/** Whether there is the client at all; where not, the tests are skipped, and the reason is printed. */
export function hasPythonClient(): boolean {
  if (existsSync(CLIENT)) return true;
  console.log("skipped: python3-ganeti-rapi is not installed");
  return false;
}

export interface ScriptEnd {
  /** What it printed: one JSON value a line. */
  readonly lines: readonly unknown[];
  readonly answers: number;
}

/**
 * Run a script of this folder: `NAME PORT USER PASSWORD …`.
 * @throws Error when it fails, or was answered otherwise than documented
 */
export async function runClientScript(
  cluster: OneMachineCluster,
  name: string,
  ...more: readonly string[]
): Promise<ScriptEnd> {
  await using proxy = await startDocumentedProxy(cluster);
  const access = [String(proxy.port), cluster.user, cluster.password];
  const child = spawn(PYTHON, ["-B", path.join(import.meta.dirname, name), ...access, ...more]);
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise((resolve) => child.once("close", resolve));
  const texts = stdout.split("\n").filter((line) => line !== "");
  if (code !== 0) throw new Error(`${name} ended with ${code} after ${texts.at(-1)}:\n${stderr}`);
  if (proxy.faults.size > 0) throw new Error([...proxy.faults].join("\n"));
  return { lines: texts.map((line) => JSON.parse(line) as unknown), answers: proxy.answers };
}

/** As {@link runClientScript}, of scripts that print `{"step": NAME, "value": …}`. */
export async function runClientSteps(
  ...args: Parameters<typeof runClientScript>
): Promise<ReadonlyMap<string, unknown>> {
  const { lines } = await runClientScript(...args);
  return new Map((lines as readonly { step: string; value: unknown }[]).map(({ step, value }) => [step, value]));
}

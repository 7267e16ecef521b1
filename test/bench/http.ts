/** Requests per second of the remote API, beside a bare Koa that answers the same bytes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import autocannon from "autocannon";
import { freePort, type OneMachineCluster } from "../one-machine-cluster.ts";
import { print } from "./figures.ts";

const CONNECTIONS = 16;
const SECONDS = 5;

/** Each resource with the least part of the bare handler's rate that it is to reach. */
export async function benchHttp(
  cluster: OneMachineCluster,
  resources: readonly { readonly path: string; readonly label: string; readonly goal: number }[],
): Promise<void> {
  const dir = await mkdtemp(path.join(tmpdir(), "gannet-bench-"));
  const answers: string[] = [];
  for (const [index, resource] of resources.entries()) {
    const file = path.join(dir, `answer-${index}`);
    await writeFile(file, `${JSON.stringify((await cluster.rapi("GET", resource.path)).body)}\n`);
    answers.push(`${resource.path}=${file}`);
  }
  const port = await freePort();
  const bare = await startBare(cluster, port, answers);
  try {
    for (const resource of resources) {
      const baseline = await rate(port, resource.path, {});
      const ours = await rate(cluster.port, resource.path, {
        authorization: `Basic ${Buffer.from(`${cluster.user}:${cluster.password}`).toString("base64")}`,
      });
      print({
        name: `http ${resource.label}`,
        value: ours,
        unit: "requests/s",
        baseline,
        ratio: ours / baseline,
        goal: `ratio >= ${resource.goal}`,
      });
    }
  } finally {
    bare.kill();
    await rm(dir, { recursive: true });
  }
}

async function startBare(cluster: OneMachineCluster, port: number, answers: readonly string[]): Promise<ChildProcess> {
  const identity = (file: string) => path.join(cluster.stateDir, "rapi/identity", file);
  const child = spawn(
    process.execPath,
    [
      path.join(import.meta.dirname, "bare-koa.ts"),
      identity("cert.pem"),
      identity("key.pem"),
      String(port),
      ...answers,
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NODE_ENV: "production" } },
  );
  if (child.stdout !== null) await once(child.stdout, "data");
  return child;
}

async function rate(port: number, resource: string, headers: Record<string, string>): Promise<number> {
  const run = (duration: number) =>
    autocannon({ url: `https://127.0.0.1:${port}${resource}`, connections: CONNECTIONS, duration, headers });
  await run(1);
  const result = await run(SECONDS);
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${resource}: ${result.non2xx} answers were no success, ${result.errors} errors`);
  return result.requests.average;
}

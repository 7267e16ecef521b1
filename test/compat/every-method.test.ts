/**
 * Debian's python3-ganeti-rapi, unchanged: every public method that it has, with its arguments, on one fresh cluster
 * with simulated LVM and DRBD. Beside it a monitoring system asks for everything, as it does every few seconds.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { type DocumentedProxy, startDocumentedProxy } from "./documented-proxy.ts";

const PYTHON = "/usr/bin/python3";
const CLIENT = "/usr/lib/python3/dist-packages/ganeti/rapi/client.py";
const MONITORED = ["/2/info", "/2/nodes?bulk=1", "/2/instances?bulk=1", "/2/groups?bulk=1", "/2/jobs?bulk=1"];
const MONITORING_INTERVAL_MS = 2_000;
const CHAPTERS = [
  ...["cluster", "groups", "networks", "nodes", "leaving_nodes"],
  ...["templates", "instance_life", "disks", "lost_disks", "shared_disks", "exports", "several"],
  ...["jobs", "filters", "queries", "query_filters"],
];

if (!existsSync(CLIENT)) console.log("skipped: python3-ganeti-rapi is not installed");

describe.skipIf(!existsSync(CLIENT))("every method of the client", () => {
  let cluster: OneMachineCluster;
  let proxy: DocumentedProxy;
  const findings = new Map<string, readonly string[]>();
  let methods: { readonly public: readonly string[]; readonly called: Readonly<Record<string, number>> };
  let monitoring: readonly number[];

  beforeAll(async () => {
    cluster = await OneMachineCluster.start({ nodes: 3, env: { GANNET_STORAGE: "simulated" } });
    const script = path.join(import.meta.dirname, "every_method.py");
    proxy = await startDocumentedProxy(cluster);
    const access = [String(proxy.port), cluster.user, cluster.password, cluster.stateDir];
    const child = spawn(PYTHON, ["-B", script, ...access]);
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const ended = new AbortController();
    const monitored = monitor(cluster, ended.signal);
    const code = await new Promise((resolve) => child.once("close", resolve));
    ended.abort();
    monitoring = await monitored;
    for (const line of stdout.split("\n").filter((each) => each !== "")) {
      const told = JSON.parse(line) as { chapter: string; findings: readonly string[] } | typeof methods;
      if ("chapter" in told) findings.set(told.chapter, told.findings);
      else methods = told;
    }
    expect(code, stderr).toBe(0);
  }, 600_000);
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  test.each(CHAPTERS)("does what it says: %s", (chapter) => {
    expect(findings.get(chapter)).toEqual([]);
  });

  test("is called, whichever there are", () => {
    expect([...findings.keys()]).toEqual(CHAPTERS);
    expect(methods.public.length).toBeGreaterThan(80);
    expect(methods.public.filter((name) => methods.called[name] === undefined)).toEqual([]);
  });

  test("is answered as the API's description says, every time", () => {
    expect(proxy.answers).toBeGreaterThan(methods.public.length);
    expect([...proxy.faults]).toEqual([]);
  });

  test("leaves a monitoring system its answers", () => {
    expect(monitoring.length).toBeGreaterThan(MONITORED.length);
    expect(new Set(monitoring)).toEqual(new Set([200]));
  });

  test("breaks nothing inside", () => {
    expect(cluster.log.split("\n").filter((line) => /internal_error|"level":"fatal"/.test(line))).toEqual([]);
  });
});

/** The statuses of all answers that it got until it was told to stop. */
async function monitor(cluster: OneMachineCluster, signal: AbortSignal): Promise<readonly number[]> {
  const statuses: number[] = [];
  while (!signal.aborted) {
    for (const resource of MONITORED) statuses.push((await cluster.rapi("GET", resource)).status);
    await delay(MONITORING_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
  }
  return statuses;
}

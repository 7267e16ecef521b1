/**
 * Debian's python3-ganeti-rapi, unchanged: every public method that it has, with its arguments, on one fresh cluster
 * with simulated LVM and DRBD. Beside it a monitoring system asks for everything, as it does every few seconds.
 */
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { hasPythonClient, runClientScript } from "./client-script.ts";

const MONITORED = ["/2/info", "/2/nodes?bulk=1", "/2/instances?bulk=1", "/2/groups?bulk=1", "/2/jobs?bulk=1"];
const MONITORING_INTERVAL_MS = 2_000;
const CHAPTERS = [
  ...["cluster", "groups", "networks", "nodes", "leaving_nodes"],
  ...["templates", "instance_life", "disks", "lost_disks", "shared_disks", "exports", "several"],
  ...["jobs", "filters", "queries", "query_filters"],
];

describe.skipIf(!hasPythonClient())("every method of the client", () => {
  let cluster: OneMachineCluster;
  let answers: number;
  const findings = new Map<string, readonly string[]>();
  let methods: { readonly public: readonly string[]; readonly called: Readonly<Record<string, number>> };
  let monitoring: readonly number[];

  beforeAll(async () => {
    cluster = await OneMachineCluster.start({ nodes: 3, env: { GANNET_STORAGE: "simulated" } });
    const ended = new AbortController();
    const monitored = monitor(cluster, ended.signal);
    const script = await runClientScript(cluster, "every_method.py", cluster.stateDir).finally(() => ended.abort());
    answers = script.answers;
    monitoring = await monitored;
    for (const told of script.lines as readonly ({ chapter: string; findings: readonly string[] } | typeof methods)[])
      if ("chapter" in told) findings.set(told.chapter, told.findings);
      else methods = told;
  }, 600_000);
  afterAll(async () => {
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
    expect(answers).toBeGreaterThan(methods.public.length);
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

/**
 * Redis in trouble: submits are refused with a reason or succeed, never both, jobs end, and the master stays. When it
 * comes back without its data, or with older ones, the master serves nobody until an operator decides.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, rename } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectRedis, type Redis } from "@gannet/redis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Layout, layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { ended, frozen, LEASE_MS, leading, NODES, SLOW_OS, startFaultCluster, until } from "./fault-cluster.ts";
import { SubmittingClient } from "./submitting-client.ts";
import { allJobs, atRest, judge } from "./verdict.ts";

const MAIN = path.resolve(import.meta.dirname, "../../services/master/src/main.ts");
const TAG = { kind: "tag", via: "rapi", method: "PUT", resource: "/2/tags?tag=trouble" } as const;
const BETWEEN_SUBMITS_MS = 50;
/** Longer than the lease, so that leadership is lost as well. */
const TROUBLE_MS = LEASE_MS + 1_000;
const REST_TIMEOUT_MS = 60_000;

let cluster: OneMachineCluster;
let layout: Layout;
let client: SubmittingClient;
let redis: Redis;
let masterPid: number;

beforeAll(async () => {
  cluster = await startFaultCluster();
  client = new SubmittingClient(cluster);
  layout = layoutOf(cluster.stateDir, NODES.length);
  redis = connectRedis({ kind: "socket", path: layout.redisSocket }, { name: "test" });
  masterPid = await cluster.pid("master");
});
afterAll(async () => {
  redis.disconnect();
  await client.close();
  await cluster[Symbol.asyncDispose]();
});

interface Trouble {
  readonly name: string;
  readonly cause: () => Promise<void>;
  /** A reason that some clients must have been told. */
  readonly reason?: RegExp;
}

const TROUBLES: readonly Trouble[] = [
  { name: "is killed and started again", cause: () => ended(cluster, "redis", "SIGKILL") },
  { name: "stands still, as over a slow disk", cause: () => frozen(cluster, "redis", TROUBLE_MS) },
  {
    name: "cuts every connection, again and again",
    cause: async () => {
      for (let i = 0; i < 20; i += 1) {
        await redis.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        await delay(BETWEEN_SUBMITS_MS);
      }
    },
  },
  { name: "is busy with a long script", cause: busy, reason: /busy with a long script/ },
  {
    name: "has no memory left",
    cause: async () => {
      await redis.config("SET", "maxmemory", "1");
      await delay(TROUBLE_MS);
      await redis.config("SET", "maxmemory", "0");
    },
    reason: /reached its memory limit/,
  },
];

async function busy(): Promise<void> {
  const other = redis.duplicate();
  await redis.config("SET", "busy-reply-threshold", "50");
  const script = redis.eval("while true do end", 0).catch((error: Error) => error.message);
  await delay(TROUBLE_MS);
  await other.call("SCRIPT", "KILL");
  expect(await script).toContain("killed by user");
  other.disconnect();
}

let names = 0;
const create = () => {
  names += 1;
  return {
    __version__: 1,
    mode: "create",
    instance_name: `trouble${names}.gannet.test`,
    disk_template: "file",
    disks: [{ size: 1 }],
    nics: [{}],
    os_type: SLOW_OS,
    pnode: `${NODES[names % NODES.length]}.gannet.test`,
    beparams: { memory: 16 },
  };
};

test.each(TROUBLES)("Redis $name", async ({ cause, reason }) => {
  const before = new Set(client.accepted.keys());
  client.reasons.clear();
  client.refused = 0;
  for (let i = 0; i < 3; i += 1)
    await client.submit({ kind: "create", via: "rapi", method: "POST", resource: "/2/instances", body: create() });

  const submits: Promise<number>[] = [];
  let over = false;
  const suffered = cause().finally(() => {
    over = true;
  });
  while (!over) {
    submits.push(client.submit(TAG));
    await delay(BETWEEN_SUBMITS_MS);
  }
  await suffered;
  await Promise.all(submits);
  await atRest(client.ledger, REST_TIMEOUT_MS);

  const accepted = [...client.accepted.keys()].filter((id) => !before.has(id));
  console.log(`${accepted.length} accepted, ${client.refused} refused: ${[...client.reasons].join("; ")}`);
  expect(accepted.length).toBeGreaterThanOrEqual(submits.length);
  if (reason !== undefined) expect([...client.reasons].some((text) => reason.test(text))).toBe(true);
  const jobs = await allJobs(client.ledger);
  // Refused ones that Redis had taken nevertheless have been canceled before they began.
  for (const job of jobs) if (!client.accepted.has(job.id)) expect(job).toMatchObject({ status: "canceled" });
  const tags = jobs.filter(({ id, summary }) => accepted.includes(id) && summary[0]?.startsWith("TAGS"));
  expect(tags.map(({ status }) => status)).not.toContain("canceled");
  const verdict = await judge(cluster, client);
  expect(verdict).toEqual({ lost: [], refusedButRan: [], ranTwice: [], locksLeaked: [], orphans: [] });
  expect(await cluster.pid("master")).toBe(masterPid);
  expect(await cluster.finished(await client.submit(TAG))).toMatchObject({ status: "success" });
});

const DATA = "appendonlydir";
const dataAt = (name: string) => path.join(layout.redisDir, name);

/** The server goes on with another folder of data, or without any. */
async function restartOn(folder: string | undefined, setAside: string): Promise<void> {
  await rename(dataAt(DATA), dataAt(setAside));
  if (folder !== undefined) await rename(dataAt(folder), dataAt(DATA));
  await ended(cluster, "redis", "SIGKILL");
}

async function refused(reason: RegExp): Promise<void> {
  await until("requests are refused", async () => (await cluster.rapi("GET", "/2/info")).status === 503);
  for (const [method, resource] of [
    ["GET", "/2/info"],
    ["GET", "/2/jobs"],
    ["PUT", TAG.resource],
  ] as const)
    expect(await cluster.rapi(method, resource)).toMatchObject({
      status: 503,
      body: { code: 503, message: expect.stringMatching(reason) },
    });
}

async function served(): Promise<void> {
  await leading(cluster);
  expect(await cluster.job("PUT", TAG.resource)).toMatchObject({ status: "success" });
}

test("Redis without its data: nobody leads or is served, also after a restart of the master, until they are back", async () => {
  const epochBefore = Number(await redis.get("gannet:epoch"));
  await restartOn(undefined, "saved");
  await refused(/Redis has lost data: there is no cluster in it.*--accept-redis-loss/);
  expect(await cluster.pid("master")).toBe(masterPid);
  await ended(cluster, "master", "SIGKILL");
  await refused(/there is no cluster in it/);
  masterPid = await cluster.pid("master");
  expect(await redis.exists("gannet:epoch", "gannet:leader")).toBe(0);

  await restartOn("saved", "empty");
  await served();
  expect(await cluster.pid("master")).toBe(masterPid);
  expect(Number(await redis.get("gannet:epoch"))).toBeGreaterThan(epochBefore);
});

test("Redis on older data: a leader stops leading, and goes on when an operator accepts", async () => {
  await cp(dataAt(DATA), dataAt("older"), { recursive: true });
  const lost = create();
  const { id: lastJob } = await cluster.job("POST", "/2/instances", lost);
  const epoch = Number(await redis.get("gannet:epoch"));
  const logged = cluster.log.length;
  await restartOn("older", "newer");
  await refused(/the configuration's serial is \d+ and was \d+, the last job's id is \d+ and was \d+/);
  await until("the term is over", () => /no longer leading|"resigned"/.test(cluster.log.slice(logged)));

  const accept = spawn(process.execPath, [MAIN, "--config", layout.masterConfigFile, "--accept-redis-loss"]);
  expect(await once(accept, "exit")).toEqual([0, null]);
  await served();
  expect(await cluster.pid("master")).toBe(masterPid);
  expect((await cluster.rapi("GET", `/2/instances/${lost.instance_name}`)).status).toBe(404);
  // Nodes know both: a lower epoch would be refused, and a job's old id would be answered from their journals.
  expect(Number(await redis.get("gannet:epoch"))).toBeGreaterThan(epoch);
  const { body: id } = await cluster.rapi("PUT", TAG.resource);
  expect(id).toBeGreaterThan(lastJob);
  expect(await cluster.job("POST", "/2/instances", create())).toMatchObject({ status: "success" });
});

/** Two masters on one Redis: who leads, what the other does meanwhile, and how the office changes hands. */
import path from "node:path";
import { RedisConfigStore } from "@gannet/config-store";
import { StaleEpoch } from "@gannet/errors";
import { RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { loadIdentity } from "@gannet/pki";
import { connectRedis, type Redis } from "@gannet/redis";
import { createNodeClient } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { LEASE_MS, NODES, SLOW_OS, startFaultCluster, until } from "./fault-cluster.ts";
import { SecondMaster } from "./second-master.ts";
import { SubmittingClient } from "./submitting-client.ts";
import { atRest, judge } from "./verdict.ts";

const FIRST = "node1.gannet.test";
/** What a takeover may take beyond the lease. */
const TAKEOVER_MS = 2_000;

let cluster: OneMachineCluster;
let second: SecondMaster;
let client: SubmittingClient;
let redis: Redis;
let election: RedisLeaderElection;

beforeAll(async () => {
  cluster = await startFaultCluster();
  second = await SecondMaster.start(cluster);
  client = new SubmittingClient(cluster);
  redis = connectRedis(address(), { name: "test" });
  election = new RedisLeaderElection(redis, { holder: "test" });
});
afterAll(async () => {
  redis.disconnect();
  await client.close();
  await second[Symbol.asyncDispose]();
  await cluster[Symbol.asyncDispose]();
});

function address() {
  return { kind: "socket", path: layoutOf(cluster.stateDir, NODES.length).redisSocket } as const;
}

async function leaderIs(holder: string): Promise<number> {
  let epoch = 0;
  await until(`${holder} leads`, async () => {
    const current = await election.current();
    epoch = current?.epoch ?? 0;
    return current?.holder === holder;
  });
  return epoch;
}

const create = (name: string, node = "node3.gannet.test") => ({
  __version__: 1,
  mode: "create",
  instance_name: name,
  disk_template: "file",
  disks: [{ size: 1 }],
  nics: [{}],
  os_type: SLOW_OS,
  pnode: node,
  beparams: { memory: 16 },
});

const delayJob = { kind: "delay", via: "ledger", opcodes: [{ OP_ID: "OP_TEST_DELAY", duration: 0 }] } as const;

/** Submit a job, and wait until it has succeeded. */
async function jobDone(): Promise<void> {
  const id = await client.submit(delayJob);
  await until(`job ${id} is over`, async () => (await client.ledger.get(id))?.status === "success");
}

test("a standby answers reads, and takes jobs that the leader runs", async () => {
  const epoch = await leaderIs(FIRST);
  const { status, body: id } = await second.rapi("POST", "/2/instances", {
    body: create("through-standby.gannet.test"),
  });
  expect([status, typeof id]).toEqual([200, "number"]);
  expect(await cluster.finished(Number(id))).toMatchObject({ status: "success" });
  expect(await second.rapi("GET", `/2/jobs/${id}`)).toMatchObject({ status: 200, body: { status: "success" } });
  expect((await election.current())?.epoch).toBe(epoch);
  expect(second.log).not.toContain('"leading"');

  const resource = "/2/instances/through-standby.gannet.test";
  expect((await cluster.rapi("GET", resource)).body).toMatchObject({ admin_state: "up", oper_state: true });
  // Agents report to standbys, too.
  await until("the standby knows that it runs", async () => {
    const { body } = await second.rapi("GET", resource);
    return (body as { oper_state: unknown }).oper_state === true;
  });
  const deleted = await second.rapi("DELETE", resource, { body: { shutdown_timeout: 0 } });
  expect(await cluster.finished(Number(deleted.body))).toMatchObject({ status: "success" });
});

test("a standby hands on to the leader what only that one can do: secrets, and changes without a job", async () => {
  const secret = { ...create("secret.gannet.test"), osparams_secret: { password: "x" } };
  const submitted = await second.rapi("POST", "/2/instances", { body: secret });
  expect(submitted.status).toBe(200);
  // It has reached the leader whole: this OS definition has no such parameter, and only the leader can tell.
  const { opresult } = await cluster.finished(Number(submitted.body));
  expect(JSON.stringify(opresult)).toContain("password");

  const paused = await second.rapi("PUT", "/2/watcher/pause", { body: { duration: 60 } });
  expect(paused).toMatchObject({ status: 200, body: { paused_until: expect.any(Number) } });
  expect(await second.rapi("PUT", "/2/watcher/continue")).toMatchObject({ status: 200, body: { paused_until: null } });
  expect(await second.rapi("PUT", "/2/watcher/pause", { body: { duration: -1 } })).toMatchObject({ status: 400 });
});

test("all masters are shown, and one is made the leader by plan", async () => {
  await leaderIs(FIRST);
  await until("both are shown", async () => {
    const { body } = await cluster.rapi("GET", "/2/master");
    const { masters } = body as { masters: readonly { health: string }[] };
    return masters.length === 2 && masters.every(({ health }) => health === "ok");
  });
  expect(await second.rapi("GET", "/2/master")).toMatchObject({
    body: {
      leader: FIRST,
      masters: [
        { name: FIRST, role: "leader" },
        { name: second.holder, role: "standby" },
      ],
    },
  });
  const nobody = await second.rapi("POST", "/2/master/failover", { body: { node: "node9.gannet.test" } });
  expect(nobody).toMatchObject({ status: 404 });

  for (const [asked, node] of [[second, second.holder] as const, [cluster, FIRST] as const]) {
    const { body: before } = await cluster.rapi("GET", "/2/master");
    const answer = await asked.rapi("POST", "/2/master/failover", { body: { node, timeout: 5 } });
    expect(answer).toMatchObject({
      status: 200,
      body: { leader: node, epoch: (before as { epoch: number }).epoch + 1 },
    });
    await jobDone();
    expect((await cluster.rapi("GET", "/2/info")).body).toMatchObject({ master: node });
  }
});

test("no master forgets the nodes while the office changes hands", async () => {
  const masters: readonly (readonly [string, Pick<SecondMaster, "rapi">])[] = [
    ["first", { rapi: (...request) => cluster.rapi(...request) }],
    ["second", { rapi: (...request) => second.rapi(...request) }],
  ];
  /** Undefined when it did not answer. */
  const unknownTo = async ({ rapi }: Pick<SecondMaster, "rapi">) => {
    const { status, body } = await rapi("GET", "/2/nodes?bulk=1");
    const nodes = body as readonly { readonly name: string; readonly mtotal: number | null }[];
    return status === 200 ? nodes.filter(({ mtotal }) => mtotal === null).map(({ name }) => name) : undefined;
  };
  for (const [name, master] of masters)
    await until(`the ${name} master knows all nodes`, async () => (await unknownTo(master))?.length === 0);
  const seen: { readonly master: string; readonly unknown: readonly string[] }[] = [];
  const looking = new AbortController();
  const looks = masters.map(async ([name, master]) => {
    while (!looking.signal.aborted) {
      const unknown = await unknownTo(master);
      if (unknown !== undefined) seen.push({ master: name, unknown });
    }
  });
  for (const node of [second.holder, FIRST]) {
    expect(await cluster.rapi("POST", "/2/master/failover", { body: { node, timeout: 5 } })).toMatchObject({
      status: 200,
    });
    await jobDone();
  }
  looking.abort();
  await Promise.all(looks);
  for (const master of ["first", "second"])
    expect(seen.filter((look) => look.master === master).length).toBeGreaterThan(10);
  expect(seen.filter(({ unknown }) => unknown.length > 0)).toEqual([]);
});

test("a leader that is stopped hands over at once", async () => {
  await leaderIs(FIRST);
  const startedAt = performance.now();
  process.kill(await cluster.pid("master"), "SIGTERM");
  await leaderIs(second.holder);
  await jobDone();
  const doneAfterMs = performance.now() - startedAt;
  console.log(`planned stop of the leader: first job done after ${Math.round(doneAfterMs)} ms`);
  expect(doneAfterMs).toBeLessThan(LEASE_MS);
  await until("the stopped master is back", async () => (await cluster.rapi("GET", "/2/info")).status === 200);
});

test("a standby takes over from a leader that was killed", async () => {
  await leaderIs(second.holder);
  const startedAt = performance.now();
  await second.end("SIGKILL");
  await jobDone();
  const doneAfterMs = performance.now() - startedAt;
  console.log(`kill -9 of the leader: first job done after ${Math.round(doneAfterMs)} ms (lease ${LEASE_MS} ms)`);
  expect(doneAfterMs).toBeLessThan(LEASE_MS + TAKEOVER_MS);
  await second.startAgain();
});

test("a leader that was frozen is refused everywhere and stands by again", async () => {
  const stale = await leaderIs(FIRST);
  const pid = await cluster.pid("master");
  const { body: id } = await cluster.rapi("POST", "/2/instances", { body: create("half-done.gannet.test") });
  await until("the create runs", async () => (await client.ledger.get(Number(id)))?.status === "running");
  const startedAt = performance.now();
  process.kill(pid, "SIGSTOP");
  try {
    const epoch = await leaderIs(second.holder);
    expect(epoch).toBeGreaterThan(stale);
    await until("the create is over", async () => (await client.ledger.get(Number(id)))?.status === "error");
    await jobDone();
    const doneAfterMs = performance.now() - startedAt;
    console.log(`freeze of the leader: first job done after ${Math.round(doneAfterMs)} ms (lease ${LEASE_MS} ms)`);
    expect(doneAfterMs).toBeLessThan(LEASE_MS + TAKEOVER_MS);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  await until("it knows", () => cluster.log.includes("no longer leading"));
  await refusedEverywhere(stale);

  const { body: delayed } = await cluster.rapi("PUT", "/2/tags?tag=after-freeze");
  expect(await cluster.finished(Number(delayed))).toMatchObject({ status: "success" });
  expect(await cluster.pid("master")).toBe(pid);
  expect((await election.current())?.holder).toBe(second.holder);
  await second.end("SIGTERM");
  await leaderIs(FIRST);
  expect(await cluster.pid("master")).toBe(pid);
  await second.startAgain();
});

/** What a leader of this epoch could still send. */
async function refusedEverywhere(epoch: number): Promise<void> {
  const [id] = await client.ledger.submit([{ opcodes: [{ input: { OP_ID: "OP_NONE" }, summary: "" }], requester: "" }]);
  await expect(client.ledger.begin(id ?? 0, 0, { epoch })).rejects.toThrow(StaleEpoch);
  const locks = new RedisLockManager(redis);
  const wishes = [{ level: "instance", name: "x", mode: "shared" }] as const;
  await expect(locks.request({ owner: 1, wishes, priority: 0 }, { epoch })).rejects.toThrow(StaleEpoch);
  const store = await RedisConfigStore.open({ address: address(), name: "test", logger: silentLogger() });
  const put = () => [{ kind: "cluster", put: store.view.cluster }] as const;
  await expect(store.commit(put, { epoch })).rejects.toThrow(StaleEpoch);
  const addresses = new Map([...store.view.nodes.values()].map((node) => [node.name, node.agentAddress ?? ""]));
  await store.close();
  const identity = await loadIdentity(path.join(cluster.stateDir, "master/identity"));
  for (const [nodeName, agent] of addresses) {
    const node = createNodeClient({ nodeName, address: agent, identity });
    const step = { epoch, jobId: 1, opcodeIndex: 0, step: "stale" };
    await expect(node.node.delay({ step, durationMs: 0 })).rejects.toThrow(StaleEpoch);
    node.close();
  }
}

test("jobs go on when the leader dies together with a node on which one of them was at work", async () => {
  process.kill(await cluster.pid("master"), "SIGTERM");
  await leaderIs(second.holder);
  await until("the first master stands by", async () => (await cluster.rapi("GET", "/2/info")).status === 200);
  const { body: id } = await cluster.rapi("POST", "/2/instances", { body: create("on-dead-node.gannet.test") });
  const resource = "/2/instances/on-dead-node.gannet.test";
  await until("there is something to undo", async () => (await cluster.rapi("GET", resource)).status === 200);
  const agent = await cluster.pid("node3");
  process.kill(agent, "SIGSTOP");
  try {
    const startedAt = performance.now();
    await second.end("SIGKILL");
    await jobDone();
    expect(performance.now() - startedAt).toBeLessThan(LEASE_MS + TAKEOVER_MS);
    expect((await client.ledger.get(Number(id)))?.status).toBe("running");
  } finally {
    process.kill(agent, "SIGCONT");
  }
  expect(await cluster.finished(Number(id))).toMatchObject({ status: "error" });
});

test("afterwards nothing is left behind", async () => {
  await atRest(client.ledger, 30_000);
  expect(await judge(cluster, client)).toMatchObject({ ranTwice: [], locksLeaked: [], orphans: [] });
});

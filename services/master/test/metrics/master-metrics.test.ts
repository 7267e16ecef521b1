/** The master's figures of a queue and of locks, over a real Redis. */
import { configViewOf } from "@gannet/config-store";
import type { RedisJobLedger } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import { EPOCH_KEY } from "@gannet/redis";
import { createMetricsRegistry, silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { MasterMetrics } from "../../src/metrics/master-metrics.ts";
import { NODE1, smallCluster, uuidOf } from "../rapi/cluster-fixture.ts";
import { openLedger } from "../rapi/ledger-testbed.ts";

const FENCE = { epoch: 1 };
let redis: TestRedis;
let ledger: RedisJobLedger;
let locks: RedisLockManager;
let metrics: MasterMetrics;
let epoch: number | undefined = 1;
let nowMs = Date.now();
const registry = createMetricsRegistry(false);

beforeAll(async () => {
  redis = await startTestRedis();
  await redis.client.set(EPOCH_KEY, FENCE.epoch);
  ledger = openLedger(redis.address, silentLogger());
  locks = new RedisLockManager(redis.client);
  metrics = new MasterMetrics(registry, {
    ledger,
    locks,
    view: () => configViewOf(smallCluster(), 42),
    epoch: () => epoch,
    silenceMs: (node) => (node === uuidOf(NODE1) ? 1500 : undefined),
    pingRedis: () => redis.client.ping(),
    clock: () => nowMs,
  });
});
afterAll(async () => {
  metrics.close();
  await ledger.close();
  await redis[Symbol.asyncDispose]();
});

/** Values of a metric by its labels, as Prometheus is told them. */
async function read(name: string): Promise<Record<string, number>> {
  const text = await registry.getSingleMetricAsString(name);
  const lines = text.split("\n").filter((line) => line.startsWith(name));
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(name.length, line.lastIndexOf(" ")),
      Number(line.slice(line.lastIndexOf(" ") + 1)),
    ]),
  );
}

const job = { opcodes: [{ input: { OP_ID: "OP_TEST_DELAY", duration: 1 }, summary: "TEST_DELAY" }], requester: "a" };

test("the queue by status, and how old the oldest of each is", async () => {
  const [first = 0] = await ledger.submit([job, job, job]);
  await ledger.begin(first, 0, FENCE);
  expect(await read("gannet_jobs")).toMatchObject({ '{status="queued"}': 2, '{status="running"}': 1 });
  nowMs = Date.now() + 100_000;
  await vi.waitFor(async () =>
    expect(Object.keys(await read("gannet_job_oldest_age_seconds")).sort()).toEqual([
      '{status="queued"}',
      '{status="running"}',
    ]),
  );
  const ages = Object.values(await read("gannet_job_oldest_age_seconds"));
  for (const age of ages) expect(age).toBeGreaterThanOrEqual(100);
  await ledger.fail(first, 0, ["OpExecError", ["no"]], FENCE);
  await vi.waitFor(async () =>
    expect(Object.keys(await read("gannet_job_oldest_age_seconds"))).toEqual(['{status="queued"}']),
  );
});

test("who waits for locks, and for how long", async () => {
  const wish = { level: "instance", name: "a", mode: "exclusive" } as const;
  expect(await read("gannet_lock_waiters")).toEqual({});
  expect(await read("gannet_lock_oldest_wait_seconds")).toEqual({ "": 0 });
  for (const owner of [901, 902, 903]) await locks.request({ owner, wishes: [wish], priority: 0 }, FENCE);
  nowMs = Date.now() + 50_000;
  expect(await read("gannet_lock_waiters")).toEqual({ '{level="instance"}': 2 });
  expect((await read("gannet_lock_oldest_wait_seconds"))[""]).toBeGreaterThanOrEqual(50);
});

test("leader, configuration, nodes and Redis", async () => {
  expect(await read("gannet_master_leader")).toEqual({ "": 1 });
  expect(await read("gannet_master_epoch")).toEqual({ "": 1 });
  epoch = undefined;
  expect(await read("gannet_master_leader")).toEqual({ "": 0 });
  expect(await read("gannet_master_epoch")).toEqual({});
  expect(await read("gannet_config_serial")).toEqual({ "": 42 });
  expect(await read("gannet_node_silence_seconds")).toEqual({ [`{node="${NODE1}"}`]: 1.5 });
  expect(await read("gannet_nodes")).toMatchObject({ '{state="connected"}': 1 });
  expect((await read("gannet_nodes"))['{state="silent"}']).toBeGreaterThanOrEqual(1);
  const roundTrip = (await read("gannet_redis_round_trip_seconds"))[""];
  expect(roundTrip).toBeGreaterThan(0);
  expect(roundTrip).toBeLessThan(5);
});

test("requests and opcodes by few labels", async () => {
  metrics.requestEnded({ route: "/2/instances/:instance_name", method: "GET", status: 200, ms: 3 });
  metrics.requestEnded({ route: undefined, method: "BREW", status: 404, ms: 1 });
  metrics.opcodeEnded({ opcode: "OP_TEST_DELAY", result: "error", ms: 2_000 });
  const requests = await registry.getSingleMetricAsString("gannet_rapi_request_duration_seconds");
  expect(requests).toContain('_count{method="GET",route="/2/instances/:instance_name",status="200"} 1');
  expect(requests).toContain('_count{method="other",route="none",status="404"} 1');
  const opcodes = await registry.getSingleMetricAsString("gannet_opcode_duration_seconds");
  expect(opcodes).toContain('_sum{opcode="OP_TEST_DELAY",result="error"} 2');
});

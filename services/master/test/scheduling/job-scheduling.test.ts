/** What only goes wrong now and then: a leader that finds jobs running, and a Redis that is away. */
import { initialiseConfiguration, RedisConfigStore } from "@gannet/config-store";
import { type Job, type JobId, RedisJobLedger } from "@gannet/job-ledger";
import type { FilterRule } from "@gannet/objects";
import { EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis } from "@gannet/testing";
import { expect, test, vi } from "vitest";
import { JobScheduling } from "../../src/scheduling/job-scheduling.ts";
import { smallCluster } from "../rapi/cluster-fixture.ts";
import { rule } from "./rules.ts";

const FENCE = { epoch: 1 };

/** Three queued jobs and these rules, and nobody who delivers. */
async function setUp(...rules: readonly FilterRule[]) {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startTestRedis());
  const { address } = redis;
  const logger = silentLogger();
  await redis.client.set(EPOCH_KEY, FENCE.epoch);
  await initialiseConfiguration(redis.client, { ...smallCluster(), filters: rules });
  const configStore = await RedisConfigStore.open({ address, name: "test", logger });
  stack.defer(() => configStore.close());
  const woken: JobId[] = [];
  const queue = { wake: async (id: JobId) => void woken.push(id), reprioritize: async () => undefined };
  const ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
  stack.defer(() => ledger.close());
  const input = { OP_ID: "OP_TEST_DELAY", duration: 0 };
  await ledger.submit(Array.from({ length: 3 }, () => ({ requester: "tester", opcodes: [{ input, summary: "" }] })));
  woken.length = 0;
  const scheduling = new JobScheduling({ ledger, queue, configStore, fence: FENCE, logger });
  stack.defer(() => scheduling.stop());
  const resources = stack.move();
  return { redis, ledger, scheduling, woken, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

test("a job that an older leader has left running keeps its place until it is over", async () => {
  await using bed = await setUp(rule("a", { action: ["RATE_LIMIT", 1] }));
  await bed.ledger.begin(1, 0, FENCE);
  bed.scheduling.start([(await bed.ledger.get(1)) as Job]);
  expect(await bed.scheduling.admit(2)).toBeUndefined();
  expect(bed.scheduling.isHeld(2)).toBe(true);

  await bed.ledger.fail(1, 0, ["OpExecError", ["undone"]], FENCE);
  await vi.waitFor(() => expect(bed.woken).toEqual([2]));
  expect(bed.scheduling.isHeld(2)).toBe(false);
  expect(await bed.scheduling.admit(2)).toMatchObject({ job: { id: 2 }, isNew: true });
  expect(await bed.scheduling.admit(3)).toBeUndefined();
});

test("a job delivered twice takes one place, and the second delivery does not give it back", async () => {
  await using bed = await setUp(rule("a", { action: ["RATE_LIMIT", 1] }));
  bed.scheduling.start([]);
  const both = await Promise.all([bed.scheduling.admit(1), bed.scheduling.admit(1)]);
  expect(both).toMatchObject([{ isNew: true }, { isNew: false }]);
  expect(await bed.scheduling.admit(2)).toBeUndefined();
});

test("a delivery while Redis is away is decided when it is back", async () => {
  await using bed = await setUp(rule("a", { action: "PAUSE", predicates: [["jobid", ["==", "id", 2]]] }));
  bed.scheduling.start([]);
  await bed.redis.kill();
  const admitted = Promise.all([bed.scheduling.admit(1), bed.scheduling.admit(2)]);
  await bed.redis.start();
  expect(await admitted).toMatchObject([{ job: { id: 1 } }, undefined]);
  expect(bed.scheduling.isHeld(2)).toBe(true);
});

test("a delivery that Redis keeps waiting ends with the term", async () => {
  await using bed = await setUp();
  bed.scheduling.start([]);
  await bed.redis.kill();
  const admitted = bed.scheduling.admit(1);
  await bed.scheduling.stop();
  expect(await admitted).toBeUndefined();
  await bed.redis.start();
});

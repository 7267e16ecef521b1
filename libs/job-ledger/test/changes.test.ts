/** The feed of changes: complete, in order, and honest about gaps. */
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import type { JobChange, JobId, RedisJobLedger } from "@gannet/job-ledger";
import { redisReady } from "@gannet/redis";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { becomeLeader, FENCE, type LedgerFixture, newJob, openLedger, runOpcode, submitOne } from "./ledger-fixture.ts";

let server: TestRedis;
let fixture: LedgerFixture;
let ledger: RedisJobLedger;
beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.flush();
  await becomeLeader(server);
  fixture = openLedger(server);
  ledger = fixture.ledger;
});
afterEach(() => fixture.close());

/** Listen, and wait until the reader has begun, which it shows by reporting the jobs there are. */
async function listen(): Promise<JobChange[]> {
  const marker = await submitOne(ledger);
  const seen: JobChange[] = [];
  ledger.onChange((change) => seen.push(change));
  await eventually(() => expect(seen).toContainEqual({ id: marker, status: "queued" }));
  seen.length = 0;
  return seen;
}

const statusesOf = (seen: readonly JobChange[], id: JobId) =>
  seen.filter((change) => change.id === id).map(({ status }) => status);

test("each change of status, each log entry, and archival are told once, in order", async () => {
  const seen = await listen();
  const id = await submitOne(ledger);
  await ledger.begin(id, 0, FENCE);
  await ledger.log(id, 0, "message", "x", FENCE);
  await ledger.succeed(id, 0, null, FENCE);
  await ledger.archive(id);
  const expected = ["queued", "running", "running", "success", "success"];
  await eventually(() => expect(statusesOf(seen, id)).toHaveLength(expected.length));
  expect(statusesOf(seen, id)).toEqual(expected);
});

test("a change is told without polling, to every listener, until it unsubscribes", async () => {
  const seen = await listen();
  const other: JobChange[] = [];
  const unsubscribe = ledger.onChange((change) => other.push(change));
  const delays: number[] = [];
  for (let told = 1; told <= 5; told++) {
    const before = performance.now();
    await submitOne(ledger);
    await eventually(() => expect(other).toHaveLength(told));
    delays.push(performance.now() - before);
  }
  // A read that waits for changes looks anew after 5 s.
  expect(Math.min(...delays)).toBeLessThan(2_500);
  unsubscribe();
  await submitOne(ledger);
  await eventually(() => expect(seen).toHaveLength(6));
  expect(other).toHaveLength(5);
});

test("a listener that throws does not keep the others from being told", async () => {
  ledger.onChange(() => {
    throw new Error("as asked");
  });
  const seen = await listen();
  await submitOne(ledger);
  await eventually(() => expect(seen).toHaveLength(1));
});

test("changes go on without a gap over a restart of Redis", async () => {
  const seen = await listen();
  await server.kill();
  await server.start();
  await ledger.connected(10_000);
  const id = await submitOne(ledger);
  await runOpcode(ledger, id, 0, "success");
  await eventually(() => expect(statusesOf(seen, id)).toEqual(["queued", "running", "success"]));
  expect(seen).toHaveLength(3);
});

test("when changes were trimmed before they were read, every job that is not archived is told once", async () => {
  const seen = await listen();
  const [pending = 0, ended = 0] = await ledger.submit([newJob(), newJob()]);
  await eventually(() => expect(seen).toHaveLength(2));
  await runOpcode(ledger, ended, 0, "success");
  await eventually(() => expect(seen).toHaveLength(4));
  seen.length = 0;
  // As if a thousand changes had come and been trimmed between two reads.
  await server.client.call("XSETID", "gannet:jobs:changes", "0-1000");
  const late = await submitOne(ledger);
  await eventually(() => expect(seen).toHaveLength(4));
  expect(statusesOf(seen, pending)).toEqual(["queued"]);
  expect(statusesOf(seen, ended)).toEqual(["success"]);
  expect(statusesOf(seen, late)).toEqual(["queued"]);
});

test("when Redis lost its data the feed starts over", async () => {
  const seen = await listen();
  for (let i = 0; i < 5; i++) await submitOne(ledger);
  await eventually(() => expect(seen).toHaveLength(5));
  await server.flush();
  await becomeLeader(server);
  seen.length = 0;
  const id = await submitOne(ledger);
  await eventually(() => expect(statusesOf(seen, id)).toEqual(["queued"]));
});

test("a gap is told before the jobs that there are", async () => {
  const id = await submitOne(ledger);
  const told: (JobId | "gap")[] = [];
  ledger.onChange(
    (change) => told.push(change.id),
    () => told.push("gap"),
  );
  await eventually(() => expect(told).toEqual(["gap", id]));
  await server.client.call("XSETID", "gannet:jobs:changes", "0-1000");
  const late = await submitOne(ledger);
  await eventually(() => expect(told.slice(2)).toEqual(["gap", id, late]));
});

test("who has caught up has been told of everything before", async () => {
  const seen: JobChange[] = [];
  ledger.onChange((change) => seen.push(change));
  for (let round = 0; round < 50; round++) {
    const id = await submitOne(ledger);
    await ledger.caughtUp();
    expect(seen.at(-1)).toEqual({ id, status: "queued" });
    const other = openLedger(server);
    await other.ledger.cancel(id);
    await ledger.caughtUp();
    expect(seen.at(-1)).toEqual({ id, status: "canceled" });
    await other.close();
  }
});

test("nobody catches up while Redis is away", async () => {
  await listen();
  await server.kill();
  await expect(ledger.caughtUp()).rejects.toThrow(Unavailable);
  await server.start();
  await ledger.connected(10_000);
  await ledger.caughtUp();
});

test("a reader can be closed at any moment while Redis is away", async () => {
  const others = Array.from({ length: 20 }, () => openLedger(server));
  for (const { ledger: other } of others) other.onChange(() => undefined);
  await Promise.all(others.map(({ ledger: other }) => other.caughtUp()));
  await server.kill();
  // Spread over some attempts to connect: what ioredis does with a command depends on where it is in one.
  for (const other of others) {
    await other.close();
    await delay(15);
  }
  await server.start();
  await ledger.connected(10_000);
});

test("close ends the reader, and nothing is told afterwards", async () => {
  const other = openLedger(server);
  const seen: JobChange[] = [];
  other.ledger.onChange((change) => seen.push(change));
  await other.close();
  await submitOne(ledger);
  await redisReady(server.client, { timeoutMs: 1_000 });
  expect(seen).toEqual([]);
});

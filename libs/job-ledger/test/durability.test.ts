/** Redis in trouble: what was answered is on disk, what was refused did not happen, and nothing happens twice. */
import { Unavailable } from "@gannet/errors";
import type { RedisJobLedger } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import {
  becomeLeader,
  FENCE,
  jobOf,
  type LedgerFixture,
  newJob,
  openLedger,
  statusesOf,
  submitOne,
} from "./ledger-fixture.ts";

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
  await ledger.connected(10_000);
});
afterEach(() => fixture.close());

/** Kill the server at a moment when it has read nothing that is sent from now on. */
async function stopReading(): Promise<void> {
  process.kill(server.pid, "SIGSTOP");
}

test("every id that was answered survives kill -9, and later ones go on from there", async () => {
  const answered: number[] = [];
  let killed = false;
  const submitting = (async () => {
    while (!killed || answered.length === 0) {
      const ids = await Promise.all(Array.from({ length: 20 }, () => submitOne(ledger)));
      answered.push(...ids);
    }
  })();
  await eventually(() => expect(answered.length).toBeGreaterThan(100));
  await server.kill();
  killed = true;
  await server.start();
  await submitting;
  expect(new Set(answered).size).toBe(answered.length);
  const kept = await ledger.getMany(answered);
  expect(kept.every((job) => job?.status === "queued")).toBe(true);
  // A submission whose answer was lost was asked for again, and not made twice.
  expect(await ledger.ids({})).toHaveLength(answered.length);
});

test("a submission that Redis refuses leaves nothing behind", async () => {
  await server.client.config("SET", "maxmemory", "1");
  await expect(ledger.submit([newJob()])).rejects.toThrow(/memory limit/);
  await server.client.config("SET", "maxmemory", "0");
  expect(await ledger.ids({})).toEqual([]);
  expect(await submitOne(ledger)).toBe(1);
});

test("a submission that was given up is canceled when it turns out to have been made", async () => {
  await stopReading();
  // It reaches the server's socket; the server reads it after this process has lost patience.
  const outcome = await ledger.submit([newJob(), newJob({ depends: [[-1, []]] })]).then(
    () => "answered",
    (error: unknown) => error,
  );
  expect(outcome).toBeInstanceOf(Unavailable);
  process.kill(server.pid, "SIGCONT");
  const last = await eventually(async () => {
    const jobs = await ledger.list({});
    expect(jobs.every(({ status }) => status === "canceled")).toBe(true);
    const keys = await server.client.keys("gannet:jobs:submission:*");
    expect(await server.client.mget(keys)).toEqual(["abandoned"]);
    return jobs.length;
  });
  expect(await ledger.readyJobs()).toEqual([]);
  expect(fixture.takeWakes()).toEqual([]);
  expect(await submitOne(ledger)).toBe(last + 1);
});

describe("the executor's writes outlast a restart of Redis", () => {
  test("a begin whose answer was lost is answered when it is asked again", async () => {
    const id = await submitOne(ledger);
    const begun = ledger.begin(id, 0, FENCE);
    await server.kill();
    await server.start();
    expect(await begun).toBe("running");
    expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
  });

  test("a result is written when Redis is back", async () => {
    const id = await submitOne(ledger);
    await ledger.begin(id, 0, FENCE);
    await stopReading();
    const result = ledger.succeed(id, 0, "worth keeping", FENCE);
    await server.kill();
    await server.start();
    await result;
    expect(await statusesOf(ledger, id)).toEqual(["success", ["success"]]);
  });

  test("an undo step is recorded once", async () => {
    const id = await submitOne(ledger);
    await ledger.begin(id, 0, FENCE);
    const steps = ["first", "second"].map((action) => ({ action, args: {} }));
    for (const step of steps) {
      const push = ledger.pushUndo(id, 0, step, FENCE);
      await server.kill();
      await server.start();
      await push;
    }
    expect(await ledger.takeOver(FENCE)).toMatchObject([{ undo: steps }]);
  });
});

test("reads and cancels fail with Unavailable while Redis is away, and work again without anything being done", async () => {
  const id = await submitOne(ledger);
  await server.kill();
  await expect(ledger.get(id)).rejects.toThrow(Unavailable);
  await expect(ledger.list({})).rejects.toThrow(Unavailable);
  await expect(ledger.counts()).rejects.toThrow(Unavailable);
  await expect(ledger.cancel(id)).rejects.toThrow(Unavailable);
  await server.start();
  await ledger.connected(10_000);
  expect(await jobOf(ledger, id)).toMatchObject({ status: "queued" });
});

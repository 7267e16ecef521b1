/** Cancel in every state (spec/jobs.json, `cancel`, `after_cancel`). */
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  becomeLeader,
  FENCE,
  jobOf,
  type LedgerFixture,
  newJob,
  openLedger,
  park,
  runOpcode,
  statusesOf,
  submitOne,
} from "./ledger-fixture.ts";

let server: TestRedis;
let fixture: LedgerFixture;
let ledger: LedgerFixture["ledger"];
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

const ACCEPTED = [true, expect.any(String)];
const REFUSED = [false, expect.any(String)];

test("a queued job ends at once: every opcode canceled, with no result and an end", async () => {
  const id = await submitOne(ledger, newJob({}, {}));
  expect(await ledger.cancel(id)).toEqual([true, "Dequeued job 1"]);
  const job = await jobOf(ledger, id);
  expect(job).toMatchObject({ status: "canceled", startTimestamp: null });
  for (const opcode of job.opcodes)
    expect(opcode).toMatchObject({ status: "canceled", result: null, endTimestamp: job.endTimestamp });
  expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
  expect(await ledger.readyJobs()).toEqual([]);
});

test("between two opcodes only those that have not run are canceled", async () => {
  const id = await submitOne(ledger, newJob({}, {}));
  await runOpcode(ledger, id, 0, "success");
  expect(await ledger.cancel(id)).toEqual(ACCEPTED);
  expect(await statusesOf(ledger, id)).toEqual(["canceled", ["success", "canceled"]]);
});

test("a waiting job is canceling until its executor has given back what it waits for", async () => {
  const id = await submitOne(ledger, newJob({}, {}));
  await park(ledger, id);
  expect(await ledger.cancel(id)).toEqual(ACCEPTED);
  expect(await statusesOf(ledger, id)).toEqual(["canceling", ["canceling", "canceling"]]);
  expect(await ledger.cancel(id)).toEqual(ACCEPTED);
  expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
  await ledger.finishCancel(id, FENCE);
  const job = await jobOf(ledger, id);
  expect(job.status).toBe("canceled");
  for (const opcode of job.opcodes)
    expect(opcode).toMatchObject({ status: "canceled", result: "Job canceled by request", endTimestamp: null });
  await ledger.finishCancel(id, FENCE);
  expect(await jobOf(ledger, id)).toEqual(job);
});

test("the executor is told of a job that is canceling, and ends it", async () => {
  const id = await submitOne(ledger);
  await park(ledger, id);
  const told = new Promise<void>((resolve) => {
    ledger.onChange((change) => change.id === id && change.status === "canceling" && resolve());
  });
  expect(await ledger.cancel(id)).toEqual(ACCEPTED);
  await told;
  await ledger.finishCancel(id, FENCE);
  expect(await statusesOf(ledger, id)).toEqual(["canceled", ["canceled"]]);
});

test("a running job goes on", async () => {
  const id = await submitOne(ledger);
  await ledger.begin(id, 0, FENCE);
  expect(await ledger.cancel(id)).toEqual([false, expect.stringContaining("no longer waiting")]);
  await ledger.succeed(id, 0, null, FENCE);
  expect(await statusesOf(ledger, id)).toEqual(["success", ["success"]]);
});

test("final, archived and unknown jobs are not in the queue", async () => {
  const id = await submitOne(ledger);
  await runOpcode(ledger, id, 0, "success");
  expect(await ledger.cancel(id)).toEqual(REFUSED);
  await ledger.archive(id);
  expect(await ledger.cancel(id)).toEqual(REFUSED);
  expect(await ledger.cancel(99)).toEqual([false, "Job 99 not found in queue"]);
});

/** Submissions that are repeated with the same key make their jobs once, whatever happens in between. */
import { JobQueueDrainError, Unavailable } from "@gannet/errors";
import { type JobId, type RedisJobLedger, type SubmissionKey, SubmissionKeyReused } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { eventually } from "./eventually.ts";
import { becomeLeader, type LedgerFixture, newJob, openLedger, runOpcode, statusesOf } from "./ledger-fixture.ts";

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

const KEY: SubmissionKey = { id: "key-1", digest: "what-is-asked" };
const A_DAY_S = 86_400;

const submit = (key: SubmissionKey = KEY) => ledger.submit([newJob(), newJob()], key);

async function onlyJobsAre(ids: readonly JobId[]): Promise<void> {
  expect(await ledger.ids({})).toEqual(ids);
}

test("a repetition is answered the first one's ids and makes nothing", async () => {
  const first = await submit();
  expect(first).toEqual([1, 2]);
  expect(await submit()).toEqual(first);
  await onlyJobsAre(first);
  expect(await submit({ ...KEY, id: "key-2" })).toEqual([3, 4]);
  expect(await ledger.submit([newJob()])).toEqual([5]);
});

test("the key with something else is refused", async () => {
  const first = await submit();
  await expect(submit({ ...KEY, digest: "something-else" })).rejects.toThrow(SubmissionKeyReused);
  await onlyJobsAre(first);
});

test("repetitions at the same time are one", async () => {
  const other = openLedger(server);
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, turn) => (turn % 2 === 0 ? ledger : other.ledger).submit([newJob()], KEY)),
  );
  await other.close();
  expect(new Set(answers.flat())).toEqual(new Set([1]));
  await onlyJobsAre([1]);
});

test("what has become of the jobs, and of the queue, is of no account", async () => {
  const first = await submit();
  await runOpcode(ledger, 1, 0, "success");
  await ledger.archive(1);
  await ledger.cancel(2);
  await ledger.setDrained(true);
  expect(await submit()).toEqual(first);
  expect(await statusesOf(ledger, 1)).toEqual(["success", ["success"]]);
});

test("it holds for a day, over kill -9 of Redis and of the submitter", async () => {
  const first = await submit();
  await server.kill();
  await server.start();
  await fixture.close();
  fixture = openLedger(server);
  ledger = fixture.ledger;
  expect(await submit()).toEqual(first);
  const ttl = await server.client.ttl(`gannet:jobs:submission-key:${KEY.id}`);
  expect(ttl).toBeLessThanOrEqual(A_DAY_S);
  expect(ttl).toBeGreaterThan(A_DAY_S - 600);
});

test("a submission that was refused leaves the key free", async () => {
  await ledger.setDrained(true);
  await expect(submit()).rejects.toThrow(JobQueueDrainError);
  await ledger.setDrained(false);
  expect(await submit()).toEqual([1, 2]);
});

/** Submit to a server that reads it only after this process has lost patience. */
async function submitInVain(): Promise<void> {
  process.kill(server.pid, "SIGSTOP");
  const outcome = await submit().catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(Unavailable);
}

test("after one that was given up, the repetition makes the jobs that run", async () => {
  await submitInVain();
  process.kill(server.pid, "SIGCONT");
  await eventually(async () => {
    const keys = await server.client.keys("gannet:jobs:submission:*");
    expect(await server.client.mget(keys)).toEqual(["abandoned"]);
  });
  const ids = await submit();
  await onlyQueuedAre(ids);
});

test("one that is repeated while it is being given up is made once, and stays", async () => {
  await submitInVain();
  const repeated = submit();
  process.kill(server.pid, "SIGCONT");
  await onlyQueuedAre(await repeated);
  expect(await submit()).toEqual(await repeated);
});

/** The first caller's giving up has happened when nothing of the ledger is under way any more: closing waits for it. */
async function onlyQueuedAre(ids: readonly JobId[]): Promise<void> {
  await fixture.close();
  fixture = openLedger(server);
  ledger = fixture.ledger;
  const jobs = await ledger.list({});
  expect(jobs.filter(({ status }) => status === "queued").map(({ id }) => id)).toEqual(ids);
  expect(jobs.every(({ status }) => status === "queued" || status === "canceled")).toBe(true);
}

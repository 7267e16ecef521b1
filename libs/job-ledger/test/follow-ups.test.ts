/** Jobs that an opcode submits are made in the step in which it succeeds, and in no other. */
import { JobQueueDrainError, JobQueueFull, OpPrereqError, StaleEpoch } from "@gannet/errors";
import type { Fence, FollowUps } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  becomeLeader,
  FENCE,
  jobOf,
  type LedgerFixture,
  newJob,
  openLedger,
  STALE_FENCE,
  statusesOf,
  submitOne,
} from "./ledger-fixture.ts";

let server: TestRedis;
let fixture: LedgerFixture;
beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.flush();
  await becomeLeader(server);
  fixture = openLedger(server, { maxUnfinishedJobs: 4 });
  await fixture.ledger.connected(10_000);
});
afterEach(() => fixture.close());

const TWO: FollowUps = { jobs: [newJob(), { refused: 'why "not"' }, newJob()], other: { placed: ["a"] } };

async function running(...opcodes: readonly object[]): Promise<number> {
  const id = await submitOne(fixture.ledger, newJob(...opcodes));
  await fixture.ledger.begin(id, 0, FENCE);
  fixture.takeWakes();
  return id;
}
const succeed = (id: number, followUps: FollowUps = TWO, fence: Fence = FENCE) =>
  fixture.ledger.succeedSubmitting(id, 0, followUps, fence);

test("the result has their ids, and they can be begun", async () => {
  const id = await running();
  expect(await succeed(id)).toEqual([id + 1, id + 2]);
  expect(fixture.takeWakes()).toEqual([id + 1, id + 2]);
  const { status, opcodes } = await jobOf(fixture.ledger, id);
  expect(status).toBe("success");
  expect(opcodes[0]?.result).toEqual({
    jobs: [
      [true, id + 1],
      [false, 'why "not"'],
      [true, id + 2],
    ],
    placed: ["a"],
  });
  expect(await fixture.ledger.begin(id + 1, 0, FENCE)).toBe("running");
  expect(await jobOf(fixture.ledger, id + 1)).toMatchObject({ requester: "tester", status: "running" });
});

test("asked again, because the answer was lost, nothing is made again", async () => {
  const id = await running();
  const ids = await succeed(id);
  expect(await succeed(id)).toEqual(ids);
  expect(await fixture.ledger.lastId()).toBe(id + 2);
});

test("no jobs at all, and none that can be submitted", async () => {
  const id = await running({}, {});
  expect(await succeed(id, { jobs: [{ refused: "no" }], other: {} })).toEqual([]);
  await fixture.ledger.begin(id, 1, FENCE);
  expect(await fixture.ledger.succeedSubmitting(id, 1, { jobs: [], other: {} }, FENCE)).toEqual([]);
  const { opcodes } = await jobOf(fixture.ledger, id);
  expect(opcodes.map(({ result }) => result)).toEqual([{ jobs: [[false, "no"]] }, { jobs: [] }]);
});

test("they may wait for each other, and for the job that submits them", async () => {
  const id = await running();
  const jobs = [newJob({ depends: [[id, ["success"]]] }), newJob({ depends: [[-1, ["success"]]] })];
  expect(await succeed(id, { jobs, other: {} })).toEqual([id + 1, id + 2]);
  expect(fixture.takeWakes()).toEqual([id + 1]);
  expect(await fixture.ledger.begin(id + 2, 0, FENCE)).toBe("not taken");
  expect(await fixture.ledger.begin(id + 1, 0, FENCE)).toBe("running");
});

const REFUSALS: readonly {
  readonly when: string;
  readonly error: new (...args: never[]) => Error;
  readonly prepare?: () => Promise<unknown>;
  readonly followUps?: FollowUps;
}[] = [
  { when: "the queue is drained", error: JobQueueDrainError, prepare: () => fixture.ledger.setDrained(true) },
  { when: "it is full", error: JobQueueFull, prepare: () => fixture.ledger.submit([newJob(), newJob()]) },
  {
    when: "one depends on no job",
    error: OpPrereqError,
    followUps: { jobs: [newJob(), newJob({ depends: [[-99, ["success"]]] })], other: {} },
  },
];
test.each(REFUSALS)("where $when the opcode has not succeeded, and nothing was made", async (refusal) => {
  const id = await running();
  await refusal.prepare?.();
  const before = await fixture.ledger.lastId();
  await expect(succeed(id, refusal.followUps)).rejects.toBeInstanceOf(refusal.error);
  expect(await fixture.ledger.lastId()).toBe(before);
  expect(await statusesOf(fixture.ledger, id)).toEqual(["running", ["running"]]);
  await fixture.ledger.fail(id, 0, ["OpExecError", ["no"]], FENCE);
});

test("who is not the leader any more makes none", async () => {
  const id = await running();
  await expect(succeed(id, TWO, STALE_FENCE)).rejects.toBeInstanceOf(StaleEpoch);
  expect(await fixture.ledger.lastId()).toBe(id);
});

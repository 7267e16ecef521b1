/** Fencing, races for a job, and what a new leader finds after the old one died between any two calls. */
import { StaleEpoch } from "@gannet/errors";
import type { Fence, JobId, RedisJobLedger } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  becomeLeader,
  FENCE,
  jobOf,
  type LedgerFixture,
  newJob,
  openLedger,
  park,
  runOpcode,
  STALE_FENCE,
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
});
afterEach(() => fixture.close());

const STEP = { action: "remove-disk", args: { path: "/dev/x" } };

/** The executor's verbs, each with how far job 1 has to be for it to be in order. */
const FENCED: readonly (readonly [
  name: string,
  state: "queued" | "waiting" | "running" | "running, with nothing done" | "canceling",
  call: (fence: Fence) => Promise<unknown>,
])[] = [
  ["begin", "queued", (fence) => ledger.begin(1, 0, fence)],
  ["park", "running, with nothing done", (fence) => ledger.park(1, 0, fence)],
  ["succeed", "running", (fence) => ledger.succeed(1, 0, null, fence)],
  ["fail", "running", (fence) => ledger.fail(1, 0, ["OpExecError", ["x"]], fence)],
  ["finishCancel", "canceling", (fence) => ledger.finishCancel(1, fence)],
  ["log", "running", (fence) => ledger.log(1, 0, "message", "x", fence)],
  ["pushUndo", "running", (fence) => ledger.pushUndo(1, 0, { ...STEP, action: "another" }, fence)],
  ["clearUndo", "running", (fence) => ledger.clearUndo(1, 0, fence)],
  ["takeOver", "waiting", (fence) => ledger.takeOver(fence)],
];

async function bringTo(state: (typeof FENCED)[number][1]): Promise<void> {
  const id = await submitOne(ledger);
  if (state !== "queued") await ledger.begin(id, 0, FENCE);
  if (state === "waiting" || state === "canceling") await ledger.park(id, 0, FENCE);
  if (state === "canceling") await ledger.cancel(id);
  if (state === "running") await ledger.pushUndo(id, 0, STEP, FENCE);
}

describe("the fence", () => {
  test.each(FENCED)("%s under a stale or unknown epoch is refused and changes nothing", async (_, state, call) => {
    await bringTo(state);
    const before = await snapshot();
    await expect(call(STALE_FENCE)).rejects.toThrow(StaleEpoch);
    await expect(call({ epoch: FENCE.epoch + 1 })).rejects.toThrow(StaleEpoch);
    expect(await snapshot()).toEqual(before);
    await call(FENCE);
    expect(await snapshot()).not.toEqual(before);
  });

  /** Everything the ledger has in Redis. */
  async function snapshot(): Promise<Record<string, string | null>> {
    const keys = (await server.client.keys("*")).toSorted();
    const dumps = await Promise.all(keys.map(async (key) => (await server.client.dumpBuffer(key))?.toString("hex")));
    return Object.fromEntries(keys.map((key, i) => [key, dumps[i] ?? null]));
  }
});

test("of many that begin a job at once exactly one gets it", async () => {
  const other = openLedger(server);
  const ids = await ledger.submit(Array.from({ length: 40 }, () => newJob()));
  const beginners = [ledger, other.ledger, ledger];
  const begun = await Promise.all(
    ids.flatMap((id) =>
      beginners.map(async (beginner) => ({ beginner, id, outcome: await beginner.begin(id, 0, FENCE) })),
    ),
  );
  const running = begun.filter(({ outcome }) => outcome === "running");
  expect(running.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual(ids);
  await Promise.all(running.map(({ beginner, id }) => beginner.park(id, 0, FENCE)));
  const again = await Promise.all(ids.flatMap((id) => [ledger, other.ledger].map((one) => one.begin(id, 0, FENCE))));
  expect(again.filter((outcome) => outcome === "running")).toHaveLength(ids.length);
  await other.close();
});

describe("take-over", () => {
  test("waiting jobs are queued again, canceling ones canceled, running ones answered with their undo list", async () => {
    await ledger.submit(Array.from({ length: 5 }, () => newJob({}, {})));
    const [queued, waiting, canceling, running, final] = [1, 2, 3, 4, 5];
    await park(ledger, waiting);
    await park(ledger, canceling);
    await ledger.cancel(canceling);
    await runOpcode(ledger, running, 0, "success");
    await ledger.begin(running, 1, FENCE);
    await ledger.pushUndo(running, 1, STEP, FENCE);
    await ledger.pushUndo(running, 1, { ...STEP, action: "second" }, FENCE);
    await runOpcode(ledger, final, 0, "error");

    const fence = await becomeLeader(server, { epoch: FENCE.epoch + 1 });
    const leftovers = await ledger.takeOver(fence);
    expect(leftovers).toEqual([
      { job: await jobOf(ledger, running), opcodeIndex: 1, undo: [STEP, { ...STEP, action: "second" }] },
    ]);
    const statuses = await Promise.all([1, 2, 3, 4, 5].map(async (id) => (await jobOf(ledger, id)).status));
    expect(statuses).toEqual(["queued", "queued", "canceled", "running", "error"]);
    expect((await ledger.readyJobs()).map(({ id }) => id)).toEqual([queued, waiting]);

    expect(await ledger.takeOver(fence)).toEqual(leftovers);
    await ledger.fail(running, 1, ["OpExecError", ["undone"]], fence);
    expect(await ledger.takeOver(fence)).toEqual([]);
    expect(await statusesOf(ledger, running)).toEqual(["error", ["success", "error"]]);
    expect(await server.client.keys("*:undo")).toEqual([]);
  });

  test("an undo list that was cleared is not answered", async () => {
    const id = await submitOne(ledger);
    await ledger.begin(id, 0, FENCE);
    await ledger.pushUndo(id, 0, STEP, FENCE);
    await ledger.clearUndo(id, 0, FENCE);
    expect(await ledger.takeOver(FENCE)).toMatchObject([{ undo: [] }]);
  });

  test("thousands of jobs go page by page", async () => {
    const ids = await ledger.submit(Array.from({ length: 1_200 }, () => newJob()));
    await Promise.all(ids.map((id) => park(ledger, id)));
    const running = ids.filter((id) => id % 3 === 0);
    await Promise.all(running.map((id) => ledger.begin(id, 0, FENCE)));
    const leftovers = await ledger.takeOver(FENCE);
    expect(leftovers.map(({ job }) => job.id)).toEqual(running);
    expect(await ledger.counts()).toMatchObject({ queued: ids.length - running.length, waiting: 0 });
  });
});

describe("a leader that dies between two calls", () => {
  /** The life of job 2: it waits for job 1, parks, logs, has undo steps, and has two opcodes. */
  const life: readonly ((fence: Fence) => Promise<unknown>)[] = [
    (fence) => ledger.begin(1, 0, fence),
    (fence) => ledger.succeed(1, 0, null, fence),
    (fence) => ledger.begin(2, 0, fence),
    (fence) => ledger.park(2, 0, fence),
    (fence) => ledger.begin(2, 0, fence),
    (fence) => ledger.log(2, 0, "message", "under way", fence),
    (fence) => ledger.pushUndo(2, 0, STEP, fence),
    (fence) => ledger.clearUndo(2, 0, fence),
    (fence) => ledger.succeed(2, 0, null, fence),
    (fence) => ledger.begin(2, 1, fence),
    (fence) => ledger.succeed(2, 1, null, fence),
  ];

  test.each(life.map((_, calls) => calls))(
    "after %i calls: every job ends, and no opcode begins twice",
    async (calls) => {
      await ledger.submit([newJob(), newJob({ depends: [[-1, ["success", "error"]]] }, {})]);
      for (const call of life.slice(0, calls)) await call(FENCE);
      const begun = new Set<string>();
      for (const id of [1, 2])
        for (const [index, opcode] of (await jobOf(ledger, id)).opcodes.entries())
          if (opcode.execTimestamp !== null && opcode.status !== "waiting") begun.add(`${id}/${index}`);

      const fence = await becomeLeader(server, { epoch: FENCE.epoch + 1 });
      for (const { job, opcodeIndex } of await ledger.takeOver(fence))
        await ledger.fail(job.id, opcodeIndex, ["OpExecError", ["the master stopped"]], fence);
      await expect(life[calls]?.(FENCE)).rejects.toThrow(StaleEpoch);
      await runEverything(fence, (id, index) => {
        expect(begun).not.toContain(`${id}/${index}`);
        begun.add(`${id}/${index}`);
      });
      for (const id of [1, 2]) expect(["success", "error"]).toContain((await jobOf(ledger, id)).status);
      expect(await ledger.counts()).toMatchObject({ queued: 0, waiting: 0, canceling: 0, running: 0 });
      expect(await server.client.keys("*dependants*")).toEqual([]);
    },
  );

  /** What an executor does with what the ledger says is ready. */
  async function runEverything(fence: Fence, onBegin: (id: JobId, index: number) => void): Promise<void> {
    for (let ready = await ledger.readyJobs(); ready.length > 0; ready = await ledger.readyJobs()) {
      for (const { id } of ready) {
        const index = (await jobOf(ledger, id)).opcodes.findIndex(({ status }) => status !== "success");
        if ((await ledger.begin(id, index, fence)) !== "running") continue;
        onBegin(id, index);
        await ledger.succeed(id, index, null, fence);
      }
    }
  }
});

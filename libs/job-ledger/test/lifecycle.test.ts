/** Statuses, transitions, results and timestamps of jobs and opcodes (spec/jobs.json). */
import { JobQueueDrainError, JobQueueFull, OpPrereqError, PRECEDING_OPCODE_FAILED } from "@gannet/errors";
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

describe("submit", () => {
  test("ids count from 1, in the order of the jobs, and each job is woken", async () => {
    expect(await ledger.submit([newJob(), newJob()])).toEqual([1, 2]);
    expect(await ledger.submit([newJob()])).toEqual([3]);
    expect(await ledger.submit([])).toEqual([]);
    expect(fixture.takeWakes()).toEqual([1, 2, 3]);
  });

  test("a submitted job is queued and says what it was given", async () => {
    const before = Date.now() / 1000;
    const id = await submitOne(ledger, newJob({ priority: 10 }, { priority: -10 }));
    const job = await jobOf(ledger, id);
    expect(job).toEqual({
      id: 1,
      status: "queued",
      archived: false,
      summary: ["TEST_DELAY(0)", "TEST_DELAY(1)"],
      requester: "tester",
      receivedTimestamp: [expect.any(Number), expect.any(Number)],
      startTimestamp: null,
      endTimestamp: null,
      opcodes: [10, -10].map((priority, duration) => ({
        input: { OP_ID: "OP_TEST_DELAY", duration, priority, depends: null },
        status: "queued",
        result: null,
        log: [],
        priority,
        startTimestamp: null,
        execTimestamp: null,
        endTimestamp: null,
      })),
    });
    const [sec, usec] = job.receivedTimestamp;
    expect(sec + usec / 1e6).toBeGreaterThan(before - 2);
    expect(sec + usec / 1e6).toBeLessThan(Date.now() / 1000 + 2);
  });

  test("inputs and results come back exactly: large integers, empty lists and objects, unicode", async () => {
    const input = { OP_ID: "OP_X", ns: [["a", "b", 1_795_293_765_886_119]], empty: [], none: {}, text: "ß\u0000\n\"'" };
    const [id = 0] = await ledger.submit([{ requester: "ü", opcodes: [{ input, summary: "X(ß)" }] }]);
    await ledger.begin(id, 0, FENCE);
    await ledger.succeed(id, 0, { list: [], object: {}, n: 9_007_199_254_740_991, text: "ß" }, FENCE);
    const job = await jobOf(ledger, id);
    expect(job.opcodes[0]?.input).toEqual(input);
    expect(job.opcodes[0]?.result).toEqual({ list: [], object: {}, n: 9_007_199_254_740_991, text: "ß" });
    expect([job.requester, ...job.summary]).toEqual(["ü", "X(ß)"]);
  });

  test("a drained queue takes nothing until it is undrained; its jobs still run", async () => {
    const id = await submitOne(ledger);
    await ledger.setDrained(true);
    expect(await ledger.isDrained()).toBe(true);
    await expect(ledger.submit([newJob()])).rejects.toThrow(JobQueueDrainError);
    await runOpcode(ledger, id, 0, "success");
    expect(await statusesOf(ledger, id)).toEqual(["success", ["success"]]);
    await ledger.setDrained(false);
    expect(await ledger.submit([newJob()])).toEqual([2]);
  });

  test("the limit counts unfinished jobs and takes a submission whole or not at all", async () => {
    const small = openLedger(server, { maxUnfinishedJobs: 3 });
    await small.ledger.submit([newJob(), newJob()]);
    await expect(small.ledger.submit([newJob(), newJob()])).rejects.toThrow(JobQueueFull);
    await runOpcode(small.ledger, 1, 0, "success");
    expect(await small.ledger.submit([newJob(), newJob()])).toEqual([3, 4]);
    await small.close();
  });

  test("a job without opcodes, and dependencies of a wrong form, are refused", async () => {
    await expect(ledger.submit([{ requester: "x", opcodes: [] }])).rejects.toThrow(OpPrereqError);
    const wrong = (depends: unknown) => ledger.submit([newJob({ depends: depends as never })]);
    for (const depends of ["x", [1], [[1, "success"]], [[1.5, []]], [[1, ["done"]]], [["1 2", []]]])
      await expect(wrong(depends)).rejects.toThrow(OpPrereqError);
    expect(await ledger.ids({})).toEqual([]);
  });

  test("more jobs or dependencies than one call can bear are refused", async () => {
    await expect(ledger.submit(Array.from({ length: 5_001 }, () => newJob()))).rejects.toThrow(OpPrereqError);
    const depends = Array.from({ length: 1_001 }, () => [1, []] as const);
    await expect(ledger.submit([newJob({ depends })])).rejects.toThrow(OpPrereqError);
    expect(await ledger.submit(Array.from({ length: 5_000 }, () => newJob()))).toHaveLength(5_000);
  });
});

describe("transitions", () => {
  test("queued, running, success, each with its timestamps", async () => {
    const id = await submitOne(ledger);
    expect(await ledger.begin(id, 0, FENCE)).toBe("running");
    const running = await jobOf(ledger, id);
    expect(running).toMatchObject({ status: "running", endTimestamp: null, opcodes: [{ status: "running" }] });
    expect(running.startTimestamp).toEqual(running.opcodes[0]?.startTimestamp);
    await ledger.succeed(id, 0, "result", FENCE);

    const job = await jobOf(ledger, id);
    const [opcode] = job.opcodes;
    expect(job.status).toBe("success");
    expect(opcode).toMatchObject({ status: "success", result: "result" });
    const times = [job.receivedTimestamp, job.startTimestamp, opcode?.execTimestamp, opcode?.endTimestamp];
    const micros = times.map((time) => (time?.[0] ?? 0) * 1e6 + (time?.[1] ?? 0));
    expect(micros).toEqual(micros.toSorted((a, b) => a - b));
    expect(job.endTimestamp).toEqual(opcode?.endTimestamp);
  });

  test("opcodes run one after the other; between two the job is queued and can be begun", async () => {
    const id = await submitOne(ledger, newJob({}, {}));
    await runOpcode(ledger, id, 0, "success");
    expect(await statusesOf(ledger, id)).toEqual(["queued", ["success", "queued"]]);
    const start = (await jobOf(ledger, id)).startTimestamp;
    await park(ledger, id, 1);
    expect(await statusesOf(ledger, id)).toEqual(["waiting", ["success", "waiting"]]);
    await ledger.begin(id, 1, FENCE);
    expect(await statusesOf(ledger, id)).toEqual(["running", ["success", "running"]]);
    await ledger.succeed(id, 1, null, FENCE);
    expect(await statusesOf(ledger, id)).toEqual(["success", ["success", "success"]]);
    expect((await jobOf(ledger, id)).startTimestamp).toEqual(start);
  });

  test("after an opcode that fails the others get Ganeti's error and no end", async () => {
    const id = await submitOne(ledger, newJob({}, {}, {}));
    await runOpcode(ledger, id, 0, "success");
    await runOpcode(ledger, id, 1, "error");
    const job = await jobOf(ledger, id);
    expect(job.status).toBe("error");
    expect(job.endTimestamp).not.toBeNull();
    expect(job.opcodes).toMatchObject([
      { status: "success", result: null },
      { status: "error", result: ["OpExecError", ["as asked"]] },
      { status: "error", result: PRECEDING_OPCODE_FAILED, startTimestamp: null, endTimestamp: null },
    ]);
    expect(job.opcodes[1]?.endTimestamp).toEqual(job.endTimestamp);
  });

  test("an opcode begins once, and one whose turn it is not does not", async () => {
    const id = await submitOne(ledger, newJob({}, {}));
    expect(await ledger.begin(id, 1, FENCE)).toBe("not taken");
    expect(await ledger.begin(99, 0, FENCE)).toBe("not taken");
    expect(await statusesOf(ledger, id)).toEqual(["queued", ["queued", "queued"]]);
    expect(await ledger.begin(id, 0, FENCE)).toBe("running");
    expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
    await ledger.fail(id, 0, ["OpExecError", ["as asked"]], FENCE);
    expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
  });

  test("a running opcode that has to wait again is parked as waiting, and keeps its first start", async () => {
    const id = await submitOne(ledger);
    await ledger.begin(id, 0, FENCE);
    const first = await jobOf(ledger, id);
    await ledger.park(id, 0, FENCE);
    expect(await statusesOf(ledger, id)).toEqual(["waiting", ["waiting"]]);
    expect(await ledger.begin(id, 0, FENCE)).toBe("running");
    const second = await jobOf(ledger, id);
    expect(second.startTimestamp).toEqual(first.startTimestamp);
    expect(second.opcodes[0]?.startTimestamp).toEqual(first.opcodes[0]?.startTimestamp);
    await ledger.park(id, 0, FENCE);
    await runOpcode(ledger, id, 0, "success");
    expect(await statusesOf(ledger, id)).toEqual(["success", ["success"]]);
  });

  test("verbs out of order are refused as defects and change nothing", async () => {
    const id = await submitOne(ledger, newJob({}, {}));
    const wrong = async (attempt: () => Promise<unknown>) => {
      const before = await jobOf(ledger, id);
      await expect(attempt()).rejects.toThrow(/^cannot /);
      expect(await jobOf(ledger, id)).toEqual(before);
    };
    await wrong(() => ledger.park(id, 0, FENCE));
    await wrong(() => ledger.succeed(id, 0, null, FENCE));
    await wrong(() => ledger.fail(id, 0, ["OpExecError", [""]], FENCE));
    await wrong(() => ledger.finishCancel(id, FENCE));
    await wrong(() => ledger.log(id, 0, "message", "", FENCE));
    await park(ledger, id);
    await wrong(() => ledger.succeed(id, 0, null, FENCE));
    await wrong(() => ledger.fail(id, 0, ["OpExecError", [""]], FENCE));
    await wrong(() => ledger.log(id, 0, "message", "", FENCE));
    await wrong(() => ledger.pushUndo(id, 0, { action: "a", args: {} }, FENCE));
    await wrong(() => ledger.finishCancel(id, FENCE));
    await runOpcode(ledger, id, 0, "error");
    await wrong(() => ledger.succeed(id, 0, null, FENCE));
    await wrong(() => ledger.park(id, 0, FENCE));
    await expect(ledger.succeed(99, 0, null, FENCE)).rejects.toThrow("job is unknown");
    await expect(ledger.finishCancel(99, FENCE)).rejects.toThrow("job is unknown");
  });

  test("repeating a verb whose answer was lost changes nothing", async () => {
    const id = await submitOne(ledger, newJob({}, {}));
    await ledger.begin(id, 0, FENCE);
    await ledger.succeed(id, 0, "first", FENCE);
    const between = await jobOf(ledger, id);
    await ledger.succeed(id, 0, "second", FENCE);
    expect(await jobOf(ledger, id)).toEqual(between);
    await runOpcode(ledger, id, 1, "error");
    const failed = await jobOf(ledger, id);
    await ledger.fail(id, 1, ["OpExecError", ["second"]], FENCE);
    await ledger.finishCancel(id, FENCE);
    expect(await jobOf(ledger, id)).toEqual(failed);
  });
});

describe("log", () => {
  test("serials grow over all opcodes; each opcode shows its own entries", async () => {
    const id = await submitOne(ledger, newJob({}, {}));
    await ledger.begin(id, 0, FENCE);
    await ledger.log(id, 0, "message", "first opcode", FENCE);
    await ledger.log(id, 0, "remote-import", { disks: [], x509_ca: "PEM" }, FENCE);
    await ledger.succeed(id, 0, null, FENCE);
    await ledger.begin(id, 1, FENCE);
    await ledger.log(id, 1, "message", "second opcode", FENCE);
    const time = [expect.any(Number), expect.any(Number)];
    const job = await jobOf(ledger, id);
    expect(job.opcodes.map((opcode) => opcode.log)).toEqual([
      [
        [1, time, "message", "first opcode"],
        [2, time, "remote-import", { disks: [], x509_ca: "PEM" }],
      ],
      [[3, time, "message", "second opcode"]],
    ]);
  });

  test("entries written at once each get a serial of their own", async () => {
    const id = await submitOne(ledger);
    await ledger.begin(id, 0, FENCE);
    await Promise.all(Array.from({ length: 50 }, (_, i) => ledger.log(id, 0, "message", i, FENCE)));
    const log = (await jobOf(ledger, id)).opcodes[0]?.log ?? [];
    expect(log.map(([serial]) => serial)).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(log.map(([, , , payload]) => payload)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  });
});

describe("lists", () => {
  test("pages go by id; archived jobs are apart; ids asked for come in the order asked", async () => {
    await ledger.submit(Array.from({ length: 12 }, () => newJob()));
    for (const id of [3, 11]) {
      await runOpcode(ledger, id, 0, "success");
      await ledger.archive(id);
    }
    expect(await ledger.ids({})).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10, 12]);
    expect(await ledger.ids({ after: 2, limit: 3 })).toEqual([4, 5, 6]);
    expect(await ledger.ids({ after: 12 })).toEqual([]);
    expect(await ledger.ids({ archived: true })).toEqual([3, 11]);
    expect((await ledger.list({ after: 9 })).map(({ id }) => id)).toEqual([10, 12]);
    const some = await ledger.getMany([12, 99, 3]);
    expect(some.map((job) => job?.id)).toEqual([12, undefined, 3]);
    expect(some[2]?.archived).toBe(true);
    expect(await ledger.get(99)).toBeUndefined();
  });

  test("counts follow every change and leave archived jobs out", async () => {
    await ledger.submit(Array.from({ length: 6 }, () => newJob()));
    await runOpcode(ledger, 1, 0, "success");
    await runOpcode(ledger, 2, 0, "error");
    await park(ledger, 3);
    await ledger.cancel(3);
    await ledger.begin(4, 0, FENCE);
    await ledger.cancel(5);
    const none = { queued: 0, waiting: 0, canceling: 0, running: 0, canceled: 0, success: 0, error: 0 };
    const now = { ...none, queued: 1, canceling: 1, running: 1, canceled: 1, success: 1, error: 1 };
    expect(await ledger.counts()).toEqual(now);
    await ledger.archive(1);
    expect(await ledger.counts()).toEqual({ ...now, success: 0 });
  });
});

describe("archive", () => {
  test("only final jobs are archived, once, and stay readable", async () => {
    const id = await submitOne(ledger);
    expect(await ledger.archive(id)).toBe(false);
    await park(ledger, id);
    expect(await ledger.archive(id)).toBe(false);
    await ledger.begin(id, 0, FENCE);
    expect(await ledger.archive(id)).toBe(false);
    await ledger.succeed(id, 0, "kept", FENCE);
    expect(await ledger.archive(id)).toBe(true);
    expect(await ledger.archive(id)).toBe(false);
    expect(await ledger.archive(99)).toBe(false);
    expect(await jobOf(ledger, id)).toMatchObject({ archived: true, status: "success", opcodes: [{ result: "kept" }] });
  });

  test("by age, from the end of each job", async () => {
    await ledger.submit([newJob(), newJob(), newJob()]);
    await runOpcode(ledger, 1, 0, "success");
    await runOpcode(ledger, 2, 0, "error");
    expect(await ledger.autoArchive(3600, 1_000)).toEqual({ archived: 0, left: 0 });
    expect(await ledger.autoArchive(-1, 1_000)).toEqual({ archived: 2, left: 0 });
    expect(await ledger.ids({})).toEqual([3]);
    expect(await ledger.ids({ archived: true })).toEqual([1, 2]);
  });

  test("at the timeout it stops and tells how many are left", async () => {
    await ledger.submit(Array.from({ length: 1_201 }, () => newJob()));
    const ids = await ledger.ids({});
    await Promise.all(ids.map((id) => ledger.cancel(id)));
    expect(await ledger.autoArchive(-1, 0)).toEqual({ archived: 500, left: 701 });
    expect(await ledger.autoArchive(-1, 60_000)).toEqual({ archived: 701, left: 0 });
  });
});

describe("priority", () => {
  test("a queued job's opcodes all change and its wake-up moves", async () => {
    const id = await submitOne(ledger, newJob({ priority: 10 }, {}));
    expect(await ledger.changePriority(id, -10)).toEqual([true, expect.stringContaining("changed to -10")]);
    expect((await jobOf(ledger, id)).opcodes.map(({ priority }) => priority)).toEqual([-10, -10]);
    expect(await ledger.readyJobs()).toEqual([{ id, priority: -10 }]);
    expect(fixture.reprioritized).toEqual([[id, -10]]);
  });

  test("what runs or ran keeps its priority", async () => {
    const id = await submitOne(ledger, newJob({}, {}, {}));
    await runOpcode(ledger, id, 0, "success");
    await ledger.begin(id, 1, FENCE);
    expect(await ledger.changePriority(id, 10)).toEqual([true, expect.any(String)]);
    expect((await jobOf(ledger, id)).opcodes.map(({ priority }) => priority)).toEqual([0, 0, 10]);
    expect(fixture.reprioritized).toEqual([]);
    await ledger.succeed(id, 1, null, FENCE);
    expect(await ledger.readyJobs()).toEqual([{ id, priority: 10 }]);
  });

  test("it is refused when there is nothing left to change, and for other values", async () => {
    await ledger.submit([newJob(), newJob(), newJob()]);
    await ledger.begin(1, 0, FENCE);
    expect(await ledger.changePriority(1, 10)).toEqual([false, expect.stringContaining("no pending opcodes")]);
    await ledger.succeed(1, 0, null, FENCE);
    expect(await ledger.changePriority(1, 10)).toEqual([false, expect.stringContaining("finished")]);
    await park(ledger, 2);
    await ledger.cancel(2);
    expect(await ledger.changePriority(2, 10)).toEqual([false, expect.stringContaining("being canceled")]);
    expect(await ledger.changePriority(99, 10)).toEqual([false, expect.stringContaining("not found")]);
    await expect(ledger.changePriority(3, 5)).rejects.toThrow(OpPrereqError);
  });

  test("the most urgent opcode that is left sets the job's place", async () => {
    const id = await submitOne(ledger, newJob({ priority: -10 }, { priority: 10 }, {}));
    expect(await ledger.readyJobs()).toEqual([{ id, priority: -10 }]);
    await runOpcode(ledger, id, 0, "success");
    expect(await ledger.readyJobs()).toEqual([{ id, priority: 0 }]);
  });
});

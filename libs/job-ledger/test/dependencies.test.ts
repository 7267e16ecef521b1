/** Jobs that depend on other jobs (spec/jobs.json, `dependencies`). */
import { OpPrereqError } from "@gannet/errors";
import type { FinalStatus } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  becomeLeader,
  FENCE,
  jobOf,
  type LedgerFixture,
  newJob,
  openLedger,
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

/** Bring a queued job to a final status. */
async function end(id: number, status: FinalStatus): Promise<void> {
  if (status === "canceled") await ledger.cancel(id);
  else await runOpcode(ledger, id, 0, status);
}

const ANY: readonly FinalStatus[] = [];

describe("a dependency that is not over", () => {
  test("the job stays queued, is not woken and cannot be begun, until the other ends", async () => {
    const first = await submitOne(ledger);
    const second = await submitOne(ledger, newJob({ depends: [[first, ["success"]]] }));
    expect(fixture.takeWakes()).toEqual([first]);
    expect(await ledger.begin(second, 0, FENCE)).toBe("not taken");
    expect(await jobOf(ledger, second)).toMatchObject({ status: "queued", startTimestamp: null });
    expect(await ledger.readyJobs()).toEqual([{ id: first, priority: 0 }]);

    await runOpcode(ledger, first, 0, "success");
    expect(fixture.takeWakes()).toEqual([second]);
    expect(await ledger.begin(second, 0, FENCE)).toBe("running");
  });

  test("several are waited for one after the other", async () => {
    await ledger.submit([newJob(), newJob()]);
    await submitOne(
      ledger,
      newJob({
        depends: [
          [1, ANY],
          [2, ANY],
        ],
      }),
    );
    fixture.takeWakes();
    await end(1, "success");
    expect(fixture.takeWakes()).toEqual([3]);
    expect(await ledger.begin(3, 0, FENCE)).toBe("not taken");
    expect(await ledger.readyJobs()).toEqual([{ id: 2, priority: 0 }]);
    await end(2, "error");
    expect(fixture.takeWakes()).toEqual([3]);
    expect(await ledger.begin(3, 0, FENCE)).toBe("running");
  });

  test("a later opcode waits when its turn comes", async () => {
    await ledger.submit([newJob(), newJob({}, { depends: [[1, ["success"]]] })]);
    await runOpcode(ledger, 2, 0, "success");
    expect(await ledger.begin(2, 1, FENCE)).toBe("not taken");
    expect(await statusesOf(ledger, 2)).toEqual(["queued", ["success", "queued"]]);
    fixture.takeWakes();
    await end(1, "success");
    expect(fixture.takeWakes()).toEqual([2]);
    await runOpcode(ledger, 2, 1, "success");
    expect(await statusesOf(ledger, 2)).toEqual(["success", ["success", "success"]]);
  });

  test("all that depend on a job are woken by its end, whichever end it is", async () => {
    const id = await submitOne(ledger);
    await ledger.submit(Array.from({ length: 5 }, () => newJob({ depends: [[id, ANY]] })));
    fixture.takeWakes();
    await ledger.cancel(id);
    expect(fixture.takeWakes()).toEqual([2, 3, 4, 5, 6]);
  });

  test("a job that waits for another can be canceled, and is not woken afterwards", async () => {
    await ledger.submit([newJob(), newJob({ depends: [[1, ANY]] }), newJob({ depends: [[2, ["canceled"]]] })]);
    fixture.takeWakes();
    expect(await ledger.cancel(2)).toEqual([true, expect.any(String)]);
    expect(fixture.takeWakes()).toEqual([3]);
    await end(1, "success");
    expect(fixture.takeWakes()).toEqual([]);
    expect(await ledger.readyJobs()).toEqual([{ id: 3, priority: 0 }]);
  });
});

describe("a dependency that is over", () => {
  test.each<[FinalStatus, readonly FinalStatus[]]>([
    ["success", ["success"]],
    ["error", ["success", "error"]],
    ["canceled", ["canceled"]],
    ["success", ANY],
    ["error", ANY],
  ])("%s is accepted by %j", async (status, accepted) => {
    const id = await submitOne(ledger);
    await end(id, status);
    const dependant = await submitOne(ledger, newJob({ depends: [[id, accepted]] }));
    expect(await ledger.begin(dependant, 0, FENCE)).toBe("running");
  });

  test.each<[FinalStatus, readonly FinalStatus[]]>([
    ["success", ["error"]],
    ["success", ["canceled", "error"]],
    ["error", ["success"]],
  ])("%s fails a job that wants %j, naming both", async (status, accepted) => {
    const id = await submitOne(ledger);
    const dependant = await submitOne(ledger, newJob({ depends: [[id, accepted]] }, {}));
    await end(id, status);
    expect(await ledger.begin(dependant, 0, FENCE)).toBe("not taken");
    const job = await jobOf(ledger, dependant);
    const text = `Dependency job ${id} finished with status '${status}', not one of '${accepted.join("', '")}' as required`;
    expect(job.status).toBe("error");
    expect(job.opcodes.map(({ status: one, result }) => [one, result])).toEqual([
      ["error", ["OpExecError", [text]]],
      ["error", ["OpExecError", ["Preceding opcode failed"]]],
    ]);
    expect(job.startTimestamp).not.toBeNull();
    expect(job.opcodes[0]?.endTimestamp).toEqual(job.endTimestamp);
  });

  test.each<[string, readonly FinalStatus[]]>([
    ["success", ["success"]],
    ["anything", ANY],
  ])("canceled cancels a job that wants %s", async (_, accepted) => {
    const id = await submitOne(ledger);
    const dependant = await submitOne(ledger, newJob({ depends: [[id, accepted]] }));
    await ledger.cancel(id);
    expect(await ledger.begin(dependant, 0, FENCE)).toBe("not taken");
    expect(await jobOf(ledger, dependant)).toMatchObject({
      status: "canceled",
      opcodes: [{ status: "canceled", result: "Job canceled by request" }],
    });
  });

  test("an archived one counts as what it was", async () => {
    const id = await submitOne(ledger);
    await end(id, "success");
    await ledger.archive(id);
    const dependant = await submitOne(ledger, newJob({ depends: [[id, ["success"]]] }));
    expect(await ledger.begin(dependant, 0, FENCE)).toBe("running");
  });

  test("the end of a job by its dependency wakes those that wait for it", async () => {
    await ledger.submit([newJob(), newJob({ depends: [[1, ["error"]]] }), newJob({ depends: [[2, ["error"]]] })]);
    await end(1, "success");
    fixture.takeWakes();
    expect(await ledger.begin(2, 0, FENCE)).toBe("not taken");
    expect(fixture.takeWakes()).toEqual([3]);
    expect(await ledger.begin(3, 0, FENCE)).toBe("running");
  });
});

describe("a dependency that cannot be", () => {
  test.each([
    ["an unknown job", 99, "Dependency error: Job 99 not found"],
    ["itself", 1, "Dependency error: job 1 depends on itself"],
  ])("%s fails the opcode", async (_, dependency, text) => {
    const id = await submitOne(ledger, newJob({ depends: [[dependency, ["success"]]] }));
    expect(await ledger.begin(id, 0, FENCE)).toBe("not taken");
    expect((await jobOf(ledger, id)).opcodes[0]?.result).toEqual(["OpExecError", [text]]);
  });

  test("jobs that name each other do not wait for ever", async () => {
    await ledger.submit([newJob({ depends: [[2, ANY]] }), newJob({ depends: [[1, ANY]] })]);
    expect(await ledger.begin(1, 0, FENCE)).toBe("not taken");
    expect(await statusesOf(ledger, 1)).toEqual(["error", ["error"]]);
    expect(await ledger.begin(2, 0, FENCE)).toBe("running");
  });

  test("a relative id that leads nowhere refuses the submission whole", async () => {
    await expect(ledger.submit([newJob(), newJob({ depends: [[-2, ANY]] })])).rejects.toThrow(OpPrereqError);
    await expect(ledger.submit([newJob({ depends: [[0, ANY]] })])).rejects.toThrow(OpPrereqError);
    expect(await ledger.ids({})).toEqual([]);
    expect(await submitOne(ledger)).toBe(1);
  });
});

test("relative ids are shown and used as absolute ones", async () => {
  await submitOne(ledger);
  await ledger.submit([
    newJob(),
    newJob(
      {},
      {
        depends: [
          [-1, ["success"]],
          [-2, ANY],
        ],
      },
    ),
  ]);
  expect((await jobOf(ledger, 3)).opcodes.map(({ input }) => input.depends)).toEqual([
    null,
    [
      [2, ["success"]],
      [1, []],
    ],
  ]);
});

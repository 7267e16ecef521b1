/** An opcode's locks are taken, waited for and given back in the ledger's own steps, whatever goes wrong on the way. */
import { LockError } from "@gannet/errors";
import { BullWakeQueue, type Fence, type JobId, type JobLedger, RedisJobLedger } from "@gannet/job-ledger";
import { type LockCandidates, type LockWish, RedisLockManager } from "@gannet/locking";
import { connectRedis, type Redis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { type SeverableLink, severableLink, startTestRedis, type TestRedis } from "@gannet/testing";
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
let redis: Redis;
let locks: RedisLockManager;
let fixture: LedgerFixture;
let ledger: RedisJobLedger;
beforeAll(async () => {
  server = await startTestRedis();
  redis = connectRedis(server.address, { name: "locks" });
  locks = new RedisLockManager(redis);
});
afterAll(async () => {
  redis.disconnect();
  await server.stop();
});
beforeEach(async () => {
  await server.flush();
  await becomeLeader(server);
  fixture = openLedger(server);
  ledger = fixture.ledger;
});
afterEach(() => fixture.close());

const instance: LockWish = { level: "instance", name: "a.test", mode: "exclusive" };
const node: LockWish = { level: "node", name: "n1", mode: "exclusive" };
const A = { wishes: [instance] };

/** Begin the first opcode, as an executor does. */
async function run(id: JobId, locks: Parameters<JobLedger["begin"]>[3] = A, fence: Fence = FENCE) {
  return await ledger.begin(id, 0, fence, locks);
}

/** Jobs of which the first has the lock and the others wait for it, in order. */
async function contending(count: number): Promise<readonly JobId[]> {
  const ids = await ledger.submit(Array.from({ length: count }, () => newJob()));
  for (const id of ids) await run(id);
  fixture.takeWakes();
  return ids;
}

/** Who has locks, and who waits for some. */
async function picture() {
  const infos = await locks.list();
  const unique = (ids: readonly JobId[]) => [...new Set(ids)].sort((a, b) => a - b);
  return {
    owners: unique(infos.flatMap(({ owners }) => owners)),
    waiting: unique(infos.flatMap(({ pending }) => pending.map(({ owner }) => owner))),
  };
}

describe("jobs that need the same", () => {
  test("run one after the other: the second is parked, and woken by the end of the first", async () => {
    const queue = new BullWakeQueue({
      address: server.address,
      name: "locks",
      readyJobs: () => own.readyJobs(),
      logger: silentLogger(),
    });
    const own = new RedisJobLedger({
      address: server.address,
      name: "locks",
      wakeQueue: queue,
      logger: silentLogger(),
    });
    const running: JobId[] = [];
    const end = new Map<JobId, () => void>();
    let atOnce = 0;
    queue.start(
      async (id) => {
        if ((await own.begin(id, 0, FENCE, A)) !== "running") return;
        running.push(id);
        atOnce += 1;
        expect(atOnce).toBe(1);
        await new Promise<void>((resolve) => end.set(id, resolve));
        atOnce -= 1;
        if (id === 2) await own.fail(id, 0, ["OpExecError", ["as asked"]], FENCE);
        else await own.succeed(id, 0, null, FENCE);
      },
      { concurrency: 10 },
    );
    await own.submit([newJob(), newJob(), newJob()]);
    await eventually(async () => expect((await picture()).waiting).toHaveLength(2));
    for (const turn of [1, 2, 3]) {
      await eventually(() => expect(running).toHaveLength(turn));
      end.get(running.at(-1) ?? 0)?.();
    }
    expect(running.toSorted()).toEqual([1, 2, 3]);
    await eventually(async () => expect(await own.counts()).toMatchObject({ success: 2, error: 1, waiting: 0 }));
    expect(await picture()).toEqual({ owners: [], waiting: [] });
    await queue.close();
    await own.close();
  });

  test("the one that waits is shown as waiting, and its opcode begins when it has its locks", async () => {
    const [first = 0, second = 0] = await contending(2);
    expect(await statusesOf(ledger, second)).toEqual(["waiting", ["waiting"]]);
    expect((await jobOf(ledger, second)).opcodes[0]?.execTimestamp).toBeNull();
    expect(await ledger.readyJobs()).toEqual([]);
    await ledger.succeed(first, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([second]);
    expect(await ledger.readyJobs()).toEqual([{ id: second, priority: 0 }]);
    expect(await run(second)).toBe("running");
    expect(await ledger.readyJobs()).toEqual([]);
    expect(await locks.held(second)).toEqual(A.wishes);
  });

  test("one that is woken too early is parked again", async () => {
    const [, second = 0] = await contending(2);
    expect(await run(second)).toBe("parked");
    expect(await picture()).toEqual({ owners: [1], waiting: [2] });
  });

  test("between two opcodes a job has no locks: another one may come in between", async () => {
    const [id = 0, other = 0] = await ledger.submit([newJob({}, {}), newJob()]);
    await run(id);
    await run(other);
    fixture.takeWakes();
    await ledger.succeed(id, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([other]);
    expect(await ledger.begin(id, 1, FENCE, A)).toBe("parked");
  });

  test("the end of a job wakes those that waited for it, and those that waited for its locks", async () => {
    const id = await submitOne(ledger);
    await ledger.submit([newJob({ depends: [[id, []]] }), newJob()]);
    await run(id);
    await run(3);
    fixture.takeWakes();
    await ledger.succeed(id, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([2, 3]);
  });

  test("candidates: those that are free are taken, and the job is woken when there are enough", async () => {
    const candidates: LockCandidates = { levels: ["node"], names: ["n1", "n2"], mode: "exclusive", atLeast: 2 };
    await ledger.submit([newJob(), newJob()]);
    await run(1, { wishes: [node] });
    expect(await run(2, { wishes: [instance], candidates })).toBe("parked");
    fixture.takeWakes();
    await ledger.succeed(1, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([2]);
    expect(await run(2, { wishes: [instance], candidates })).toBe("running");
    expect((await locks.held(2)).map(({ name }) => name)).toEqual(["a.test", "n1", "n2"]);
  });
});

describe("an opcode that asks for other locks than it has or waits for", () => {
  test("is refused, and nothing changes; when it has let go it gets them", async () => {
    const [first = 0, second = 0] = await contending(2);
    const before = await jobOf(ledger, second);
    await expect(ledger.begin(second, 0, FENCE, { wishes: [node] })).rejects.toThrow(LockError);
    expect(await jobOf(ledger, second)).toEqual(before);
    expect(await picture()).toEqual({ owners: [first], waiting: [second] });
    await locks.release(second, "all", FENCE);
    expect(await ledger.begin(second, 0, FENCE, { wishes: [node] })).toBe("running");
    await ledger.succeed(second, 0, null, FENCE);
    expect(await picture()).toEqual({ owners: [first], waiting: [] });
  });

  test("that it gives back, parked, is woken to ask anew, as are those whom that grants", async () => {
    const [first = 0, second = 0] = await contending(2);
    await ledger.park(first, 0, FENCE);
    expect(fixture.takeWakes()).toEqual([first, second]);
    expect(await picture()).toEqual({ owners: [second], waiting: [] });
    expect((await ledger.readyJobs()).map(({ id }) => id)).toEqual([first, second]);
    expect(await run(first)).toBe("parked");
    expect(await run(second)).toBe("running");
    expect(await ledger.readyJobs()).toEqual([]);
  });
});

describe("a lost answer", () => {
  let link: SeverableLink;
  let lossy: LedgerFixture;
  beforeEach(async () => {
    link = await severableLink(server.address.path, `${server.address.path}.link`);
    lossy = openLedger(link);
    await lossy.ledger.connected(10_000);
  });
  afterEach(async () => {
    await lossy.close();
    await link[Symbol.asyncDispose]();
  });

  test("of a begin that took its locks: they are had once, and the opcode began once", async () => {
    const id = await submitOne(ledger);
    const lost = link.loseAnswerTo("eval", "sever");
    const begun = lossy.ledger.begin(id, 0, FENCE, A);
    await lost;
    const running = await jobOf(ledger, id);
    expect(running.status).toBe("running");
    link.restore();
    expect(await begun).toBe("running");
    expect(await jobOf(ledger, id)).toEqual(running);
    expect(await locks.held(id)).toEqual(A.wishes);
  });

  test("of a begin that parked: the repetition finds it parked", async () => {
    const [id = 0, other = 0] = await ledger.submit([newJob(), newJob()]);
    await run(id);
    void link.loseAnswerTo("eval");
    expect(await lossy.ledger.begin(other, 0, FENCE, A)).toBe("parked");
    expect(await picture()).toEqual({ owners: [id], waiting: [other] });
  });

  test.each(["runs", "has succeeded", "has failed"])(
    "of a begin that parked, when another delivery of the job by now %s: only that one runs it",
    async (by) => {
      const [id = 0, other = 0] = await ledger.submit([newJob(), newJob({}, {})]);
      await run(id);
      const lost = link.loseAnswerTo("eval", "sever");
      const begun = lossy.ledger.begin(other, 0, FENCE, A);
      await lost;
      await ledger.succeed(id, 0, null, FENCE);
      expect(await run(other)).toBe("running");
      if (by === "has succeeded") await ledger.succeed(other, 0, null, FENCE);
      if (by === "has failed") await ledger.fail(other, 0, ["OpExecError", ["as asked"]], FENCE);
      const before = await jobOf(ledger, other);
      link.restore();
      expect(await begun).toBe("not taken");
      expect(await jobOf(ledger, other)).toEqual(before);
    },
  );

  test("of a begin that parked, when the job was canceled meanwhile", async () => {
    const [id = 0, other = 0] = await ledger.submit([newJob(), newJob()]);
    await run(id);
    const lost = link.loseAnswerTo("eval", "sever");
    const begun = lossy.ledger.begin(other, 0, FENCE, A);
    await lost;
    await ledger.cancel(other);
    link.restore();
    expect(await begun).toBe("not taken");
    await ledger.finishCancel(other, FENCE);
    expect(await picture()).toEqual({ owners: [id], waiting: [] });
  });

  test("of a park, when another delivery runs the job by now: it goes on", async () => {
    const id = await submitOne(ledger);
    await lossy.ledger.begin(id, 0, FENCE, A);
    const lost = link.loseAnswerTo("eval", "sever");
    const parked = lossy.ledger.park(id, 0, FENCE);
    await lost;
    expect(await run(id)).toBe("running");
    link.restore();
    await parked;
    expect(await statusesOf(ledger, id)).toEqual(["running", ["running"]]);
    expect(await locks.held(id)).toEqual(A.wishes);
  });

  test.each<[string, (ledger: JobLedger, id: JobId) => Promise<void>]>([
    ["success", (each, id) => each.succeed(id, 0, null, FENCE)],
    ["failure", (each, id) => each.fail(id, 0, ["OpExecError", ["as asked"]], FENCE)],
  ])("of a %s: those whom it granted are told, and nothing is given back twice", async (_, end) => {
    const [first = 0, second = 0, third = 0] = await contending(3);
    const lost = link.loseAnswerTo("eval", "sever");
    const ended = end(lossy.ledger, first);
    await lost;
    expect(await locks.held(second)).toEqual(A.wishes);
    link.restore();
    await ended;
    expect(lossy.takeWakes()).toEqual([second]);
    expect(await picture()).toEqual({ owners: [second], waiting: [third] });
  });

  test("of a change of priority: whom it granted is found by the sweeper", async () => {
    await ledger.submit([newJob(), newJob(), newJob()]);
    await run(1, { wishes: [node] });
    await run(2, { wishes: [instance, node] });
    await run(3, { wishes: [instance] });
    // So that the server knows the script.
    await ledger.changePriority(2, 0);
    void link.loseAnswerTo("eval");
    await expect(lossy.ledger.changePriority(3, -10)).rejects.toThrow();
    expect(await ledger.readyJobs()).toEqual([{ id: 3, priority: -10 }]);
    expect(await run(3, { wishes: [instance] })).toBe("running");
  });
});

describe("a cancel leaves no lock and no waiting request, and lets the next one in", () => {
  /** Job 1 has the lock, 2 is the one to be canceled, 3 waits behind it. */
  const states: readonly (readonly [name: string, bring: () => Promise<void>])[] = [
    ["parked", async () => void (await run(2))],
    [
      "begun again, before its locks were granted",
      async () => {
        await run(2);
        await run(2);
      },
    ],
    [
      "granted its locks, and not woken yet",
      async () => {
        await run(2);
        await ledger.succeed(1, 0, null, FENCE);
      },
    ],
    [
      "parked because its locks had to be asked for anew",
      async () => {
        await run(2, { wishes: [node] });
        await ledger.park(2, 0, FENCE);
      },
    ],
  ];

  test.each(states)("%s", async (_, bring) => {
    await ledger.submit([newJob(), newJob(), newJob()]);
    await run(1);
    await bring();
    await run(3);
    expect(await ledger.cancel(2)).toEqual([true, expect.any(String)]);
    expect((await ledger.readyJobs()).map(({ id }) => id)).not.toContain(2);
    await ledger.finishCancel(2, FENCE);
    expect(await statusesOf(ledger, 2)).toEqual(["canceled", ["canceled"]]);
    if ((await jobOf(ledger, 1)).status === "running") await ledger.succeed(1, 0, null, FENCE);
    expect(await picture()).toEqual({ owners: [3], waiting: [] });
    expect(fixture.takeWakes()).toContain(3);
    expect(await run(3)).toBe("running");
  });

  test("of a job that an older leader had parked, by the one that takes over", async () => {
    await contending(3);
    await ledger.cancel(2);
    const fence = await becomeLeader(server, { epoch: FENCE.epoch + 1 });
    await ledger.takeOver(fence);
    await locks.retainOwners([1], fence);
    expect(await statusesOf(ledger, 2)).toEqual(["canceled", ["canceled"]]);
    expect(await picture()).toEqual({ owners: [1], waiting: [] });
  });
});

describe("priority", () => {
  test("of a job that waits for locks takes its request along, and those that may go at once are woken", async () => {
    await ledger.submit([newJob(), newJob(), newJob()]);
    await run(1, { wishes: [node] });
    await run(2, { wishes: [instance, node] });
    await run(3, { wishes: [instance] });
    fixture.takeWakes();
    expect(await ledger.changePriority(3, -10)).toEqual([true, expect.any(String)]);
    expect(fixture.takeWakes()).toEqual([3]);
    expect(await picture()).toEqual({ owners: [1, 3], waiting: [2] });
  });

  test("a lowered one lets those behind it go first", async () => {
    await contending(3);
    await ledger.changePriority(2, 10);
    fixture.takeWakes();
    await ledger.succeed(1, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([3]);
  });

  test("one that is changed before it begins counts", async () => {
    const [first = 0] = await contending(2);
    const late = await submitOne(ledger);
    await ledger.changePriority(late, -10);
    expect(await ledger.begin(late, 0, FENCE, A)).toBe("parked");
    fixture.takeWakes();
    await ledger.succeed(first, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([late]);
  });

  test("only of the opcode that waits: one of later opcodes does not move it", async () => {
    const [first = 0, second = 0, third = 0] = await ledger.submit([newJob(), newJob(), newJob({}, { priority: -10 })]);
    for (const id of [first, second, third]) await run(id);
    fixture.takeWakes();
    await ledger.succeed(first, 0, null, FENCE);
    expect(fixture.takeWakes()).toEqual([second]);
  });
});

describe("a leader that dies between two calls", () => {
  /** Two jobs that contend, the second of two opcodes, with a cancel and a job that has to ask anew. */
  const life: readonly ((fence: Fence) => Promise<unknown>)[] = [
    (fence) => ledger.begin(1, 0, fence, A),
    (fence) => ledger.begin(2, 0, fence, { wishes: [instance, node] }),
    (fence) => ledger.begin(3, 0, fence, { wishes: [node] }),
    () => ledger.cancel(3),
    (fence) => ledger.finishCancel(3, fence),
    (fence) => locks.release(1, [instance], fence),
    (fence) => ledger.begin(2, 0, fence, { wishes: [instance, node] }),
    (fence) => ledger.park(2, 0, fence),
    (fence) => ledger.succeed(1, 0, null, fence),
    (fence) => ledger.begin(2, 0, fence, A),
    (fence) => ledger.fail(2, 0, ["OpExecError", ["as asked"]], fence),
  ];

  test.each(life.map((_, calls) => calls))(
    "after %i calls: the next one finds no lock and no job in the way",
    async (calls) => {
      await ledger.submit([newJob(), newJob({}, {}), newJob()]);
      for (const call of life.slice(0, calls)) await call(FENCE);
      const fence = await becomeLeader(server, { epoch: FENCE.epoch + 1 });
      const leftovers = await ledger.takeOver(fence);
      const running = leftovers.map(({ job }) => job.id);
      await locks.retainOwners(running, fence);
      // Those that are being undone keep what they had, and nobody else has or wants anything.
      const { owners, waiting } = await picture();
      expect(owners.every((id) => running.includes(id))).toBe(true);
      expect(waiting).toEqual([]);
      for (const { job, opcodeIndex } of leftovers)
        await ledger.fail(job.id, opcodeIndex, ["OpExecError", ["the master stopped"]], fence);
      expect(await picture()).toEqual({ owners: [], waiting: [] });

      for (let ready = await ledger.readyJobs(); ready.length > 0; ready = await ledger.readyJobs()) {
        for (const { id } of ready) {
          const index = (await jobOf(ledger, id)).opcodes.findIndex(({ status }) => status !== "success");
          expect(await ledger.begin(id, index, fence, { wishes: [instance, node] })).toBe("running");
          await ledger.succeed(id, index, null, fence);
        }
      }
      expect(await ledger.counts()).toMatchObject({ queued: 0, waiting: 0, canceling: 0, running: 0 });
      expect(await picture()).toEqual({ owners: [], waiting: [] });
    },
  );
});

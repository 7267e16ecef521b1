/** The list of jobs is at every moment what the ledger would answer, whatever came in between. */
import type { Job, JobChange, JobId, RedisJobLedger } from "@gannet/job-ledger";
import { jobRow } from "@gannet/query";
import { EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Answer } from "../../src/rapi/handlers.ts";
import { JobRows } from "../../src/rapi/job-rows.ts";
import { delayJob, openLedger } from "./ledger-testbed.ts";

const ALL = { after: 0, limit: Number.MAX_SAFE_INTEGER } as const;
const jsonOf = ({ body }: Answer) => JSON.parse(body.toString()) as unknown;

describe("against a ledger that answers and tells in any order", () => {
  /** Jobs with versions; what it answers and tells is held up by the scheduler. */
  class HeldUpLedger {
    readonly jobs = new Map<JobId, { version: number; archived: boolean }>();
    readonly #scheduler: fc.Scheduler;
    readonly #expecting = new Set<{ readonly change: number; readonly resolve: () => void }>();
    #listener: (change: JobChange) => void = () => undefined;
    #onGap: () => void = () => undefined;
    #versions = 0;
    #made = 0;
    #told = 0;
    #telling = Promise.resolve();

    constructor(scheduler: fc.Scheduler) {
      this.#scheduler = scheduler;
    }

    onChange(listener: (change: JobChange) => void, onGap: () => void = () => undefined): () => void {
      this.#listener = listener;
      this.#onGap = onGap;
      return () => undefined;
    }

    change(id: JobId, archived: boolean): void {
      this.jobs.set(id, { version: ++this.#versions, archived });
      this.#tell(() => this.#listener({ id, status: "running" }));
    }

    /** Jobs vanish, or are archived, and nobody tells of it but by the gap. */
    lose(id: JobId): void {
      this.jobs.delete(id);
      this.#tell(() => this.#onGap());
    }

    async caughtUp(): Promise<void> {
      const change = this.#made;
      await this.#scheduler.schedule(Promise.resolve(), "newest change");
      if (this.#told < change) await new Promise<void>((resolve) => this.#expecting.add({ change, resolve }));
    }

    async ids(): Promise<readonly JobId[]> {
      const ids = this.live().map(([id]) => id);
      return await this.#scheduler.schedule(Promise.resolve(ids), "ids");
    }

    async getMany(ids: readonly JobId[]): Promise<readonly (Job | undefined)[]> {
      // Read when the request arrives, which is not when it is sent, and answered later still.
      await this.#scheduler.schedule(Promise.resolve(), "reading");
      const jobs = ids.map((id) => {
        const job = this.jobs.get(id);
        return job && ({ id, archived: job.archived, summary: [String(job.version)], opcodes: [] } as unknown as Job);
      });
      return await this.#scheduler.schedule(Promise.resolve(jobs), "jobs");
    }

    live(): readonly (readonly [id: JobId, version: number])[] {
      return [...this.jobs]
        .filter(([, { archived }]) => !archived)
        .map(([id, { version }]) => [id, version] as const)
        .sort(([a], [b]) => a - b);
    }

    #tell(call: () => void): void {
      this.#made++;
      this.#telling = this.#telling.then(async () => {
        await this.#scheduler.schedule(Promise.resolve(), "telling");
        call();
        this.#told++;
        for (const { change, resolve } of this.#expecting) if (this.#told >= change) resolve();
      });
    }
  }

  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ change: fc.integer({ min: 1, max: 6 }), archived: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ lose: fc.integer({ min: 1, max: 6 }) }) },
    { weight: 3, arbitrary: fc.constant({ list: true }) },
    { weight: 3, arbitrary: fc.constant({ turn: true }) },
  );

  test("an answer has nothing older than its request, and the last one is exact", async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), fc.array(step, { maxLength: 40, size: "max" }), async (scheduler, steps) => {
        const ledger = new HeldUpLedger(scheduler);
        const rows = new JobRows(ledger);
        const lists: Promise<void>[] = [];
        const list = async () => {
          const before = new Map(ledger.jobs);
          const shown = (jsonOf(await rows.bulk(ALL)) as { id: JobId; summary: [string] }[]).map(
            ({ id, summary: [version] }) => [id, Number(version)] as const,
          );
          expect(shown.map(([id]) => id)).toEqual(shown.map(([id]) => id).sort((a, b) => a - b));
          for (const [id, version] of shown)
            expect(version, `job ${id}`).toBeGreaterThanOrEqual(before.get(id)?.version ?? 1);
          // What is not shown was archived or lost meanwhile, if not before.
          for (const [id, job] of before)
            if (!job.archived && !shown.some(([other]) => other === id)) expect(ledger.jobs.get(id)).not.toBe(job);
        };
        for (const next of steps) {
          // What a step sets going reaches the scheduler.
          await new Promise((resolve) => setImmediate(resolve));
          if ("change" in next) ledger.change(next.change, next.archived);
          else if ("lose" in next) ledger.lose(next.lose);
          else if ("list" in next) lists.push(list());
          else if (scheduler.count() > 0) await scheduler.waitOne();
        }
        await scheduler.waitFor(Promise.all(lists));
        const last = rows.bulk(ALL);
        await scheduler.waitFor(last);
        const shown = jsonOf(await last) as { id: JobId; summary: [string] }[];
        expect(shown.map(({ id, summary: [version] }) => [id, Number(version)])).toEqual(ledger.live());
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("over Redis", () => {
  const FENCE = { epoch: 1 } as const;
  let server: TestRedis;
  let ledger: RedisJobLedger;
  let rows: JobRows;
  beforeAll(async () => {
    server = await startTestRedis();
    await server.client.set(EPOCH_KEY, FENCE.epoch);
    ledger = openLedger(server.address, silentLogger());
    await ledger.submit([delayJob()]);
    rows = new JobRows(ledger);
  });
  afterAll(async () => {
    rows.close();
    await ledger.close();
    await server.stop();
  });

  const fresh = async () => JSON.parse(JSON.stringify((await ledger.list({ archived: false })).map(jobRow)));
  const anyOf = (ids: readonly JobId[], pick: number) => ids[pick % Math.max(1, ids.length)] ?? 1;

  const step = fc.tuple(
    fc.constantFrom("submit", "cancel", "park", "begin", "log", "succeed", "priority", "archive", "archiveAll", "gap"),
    fc.nat({ max: 1_000 }),
  );

  test("it is what the ledger lists, after anything that happens to jobs", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, fc.boolean()), { maxLength: 30 }), async (steps) => {
        for (const [[verb, pick], isListed] of steps) {
          const id = anyOf(await ledger.ids({}), pick);
          // What a job's state does not allow changes nothing.
          const orNot = (work: Promise<unknown>) => work.catch(() => undefined);
          if (verb === "submit") await ledger.submit([delayJob(), delayJob()].slice(0, 1 + (pick % 2)));
          else if (verb === "cancel") await ledger.cancel(id);
          else if (verb === "park") await orNot(ledger.park(id, 0, FENCE));
          else if (verb === "begin") await orNot(ledger.begin(id, 0, FENCE));
          else if (verb === "log") await orNot(ledger.log(id, 0, "message", "x", FENCE));
          else if (verb === "succeed") await orNot(ledger.succeed(id, 0, null, FENCE));
          else if (verb === "priority") await ledger.changePriority(id, ([-10, 0, 10] as const)[pick % 3] ?? 0);
          else if (verb === "archive") await ledger.archive(id);
          else if (verb === "archiveAll") await ledger.autoArchive(-1, 1_000);
          // As if a thousand changes had come and been trimmed between two reads.
          else await skipChanges(server);
          if (isListed) expect(jsonOf(await rows.bulk(ALL))).toEqual(await fresh());
        }
        expect(jsonOf(await rows.bulk(ALL))).toEqual(await fresh());
      }),
      { numRuns: 60 },
    );
  });

  test("a page begins after an id and has no more than its limit", async () => {
    await ledger.submit(Array.from({ length: 7 }, () => delayJob()));
    const jobs = (await fresh()) as { id: JobId }[];
    const ids = jobs.map(({ id }) => id);
    await fc.assert(
      fc.asyncProperty(
        fc.nat({ max: (ids.at(-1) ?? 0) + 2 }),
        fc.integer({ min: 1, max: ids.length + 2 }),
        async (after, limit) => {
          const expected = jobs.filter(({ id }) => id > after).slice(0, limit);
          expect(jsonOf(await rows.bulk({ after, limit }))).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("reads only the jobs that changed", async () => {
    const [id = 0] = await ledger.submit([delayJob(), delayJob()]);
    await rows.bulk(ALL);
    const reads = vi.spyOn(ledger, "getMany");
    await rows.bulk(ALL);
    expect(reads).not.toHaveBeenCalled();
    await ledger.cancel(id);
    await rows.bulk(ALL);
    expect(reads.mock.calls).toEqual([[[id]]]);
    reads.mockRestore();
  });

  test.for(["getMany", "ids"] as const)("a failure of %s costs nothing but that answer", async (verb) => {
    const other = new JobRows(ledger);
    const failing = vi.spyOn(ledger, verb).mockRejectedValueOnce(new Error("as asked"));
    await expect(other.bulk(ALL)).rejects.toThrow("as asked");
    expect(jsonOf(await other.bulk(ALL))).toEqual(await fresh());
    const [id = 0] = await ledger.submit([delayJob()]);
    await other.bulk(ALL);
    await ledger.cancel(id);
    failing.mockRejectedValueOnce(new Error("as asked"));
    await other.bulk(ALL).catch(() => undefined);
    failing.mockRestore();
    expect(jsonOf(await other.bulk(ALL))).toEqual(await fresh());
    other.close();
  });

  test("fails while Redis is away, and is right again afterwards", async () => {
    await rows.bulk(ALL);
    await server.kill();
    await expect(rows.bulk(ALL)).rejects.toThrow("Redis");
    await server.start();
    await ledger.connected(10_000);
    await ledger.submit([delayJob()]);
    expect(jsonOf(await rows.bulk(ALL))).toEqual(await fresh());
  });
});

async function skipChanges(server: TestRedis): Promise<void> {
  const [newest] = await server.client.xrevrange("gannet:jobs:changes", "+", "-", "COUNT", 1);
  const serial = Number(newest?.[0].split("-")[1] ?? 0);
  await server.client.call("XSETID", "gannet:jobs:changes", `0-${serial + 1_000}`);
}

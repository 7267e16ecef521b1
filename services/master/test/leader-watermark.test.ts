/** The watermark on the master's disk, and the guard that compares Redis with it. */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ConfigurationError, OpPrereqError, Unavailable } from "@gannet/errors";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { acceptLoss, furthest, type Marks, missing, WatermarkFile } from "../src/leader-watermark.ts";
import { RedisGuard } from "../src/leader-watermark-guard.ts";

const MARKS: Marks = {
  runId: "a",
  cluster: "c1",
  epoch: 5,
  configurationSerial: 10,
  lastJob: 20,
  jobChanges: 99,
};
const NEVER = new AbortController().signal;

describe("what is missing", () => {
  test.each<[string, Partial<Marks>, RegExp | undefined]>([
    ["nothing, when nothing moved", {}, undefined],
    ["nothing, when all went on in another run", { runId: "b", epoch: 6, lastJob: 21, jobChanges: 100 }, undefined],
    ["an epoch", { epoch: 4 }, /the leader's epoch is 4 and was 5/],
    ["commits", { configurationSerial: 9 }, /the configuration's serial is 9 and was 10/],
    ["jobs", { lastJob: 19 }, /the last job's id is 19 and was 20/],
    ["changes of jobs, where no job is missing", { jobChanges: 98 }, /the count of changes of jobs is 98 and was 99/],
    [
      "everything of this cluster, in a newer one",
      { cluster: "c2", epoch: 50 },
      /another cluster \(c2 instead of c1\)/,
    ],
  ])("%s", (_what, held, words) => {
    const lacks = missing(MARKS, { ...MARKS, ...held }).join();
    if (words === undefined) expect(lacks).toBe("");
    else expect(lacks).toMatch(words);
  });

  test("a cluster, in an empty Redis", () => {
    const { cluster: _, ...empty } = { ...MARKS, epoch: 0, configurationSerial: 0, lastJob: 0, jobChanges: 0 };
    expect(missing(MARKS, empty)).toEqual(["there is no cluster in it"]);
    expect(missing(empty, MARKS)).toEqual([]);
  });

  test("the furthest of two has the later run and the higher of each count", () => {
    const now = { ...MARKS, runId: "b", epoch: 6, lastJob: 19 };
    expect(furthest(MARKS, now)).toEqual({ ...MARKS, runId: "b", epoch: 6 });
  });
});

let server: TestRedis;
let folder: string;
let guards: RedisGuard[];
beforeAll(async () => {
  server = await startTestRedis();
});
afterAll(() => server.stop());
beforeEach(async () => {
  await server.flush();
  folder = await mkdtemp(path.join(tmpdir(), "gannet-watermark-"));
  guards = [];
});
afterEach(async () => {
  await Promise.all(guards.map((guard) => guard.close()));
  await rm(folder, { recursive: true });
});

async function openGuard(options: { readonly lookIntervalMs?: number } = {}): Promise<RedisGuard> {
  const guard = await RedisGuard.open({
    address: server.address,
    stateDir: folder,
    logger: silentLogger(),
    lookIntervalMs: 20,
    ...options,
  });
  guards.push(guard);
  return guard;
}

/** As a cluster's Redis has it. */
async function fill(counts: { readonly epoch: number; readonly serial: number; readonly job: number }): Promise<void> {
  await server.client
    .multi()
    .mset("gannet:epoch", counts.epoch, "gannet:config:serial", counts.serial, "gannet:jobs:serial", counts.job)
    .hset("gannet:config:cluster", "c1", "{}")
    .exec();
}

const written = async () => JSON.parse(await readFile(path.join(folder, "watermark.json"), "utf8"));
const aborted = (signal: AbortSignal) =>
  vi.waitFor(() => expect(signal.aborted && signal.reason).toBeInstanceOf(Unavailable));

test("what Redis holds is trusted the first time, and is on disk after a confirmation, for this user only", async () => {
  await fill({ epoch: 3, serial: 7, job: 11 });
  const guard = await openGuard({ lookIntervalMs: 60_000 });
  expect((await guard.trusted(NEVER)).aborted).toBe(false);
  await server.client.incr("gannet:epoch");
  expect(await guard.confirm()).toBe(true);
  expect(await written()).toMatchObject({ cluster: "c1", epoch: 4, configurationSerial: 7, lastJob: 11 });
  expect((await stat(path.join(folder, "watermark.json"))).mode & 0o777).toBe(0o600);
});

test("a loss ends the trust, refuses clients with what is missing, and is over when the data are back", async () => {
  await fill({ epoch: 3, serial: 7, job: 11 });
  const guard = await openGuard();
  const trust = await guard.trusted(NEVER);
  await guard.confirm();
  await server.flush();
  await aborted(trust);
  expect(guard.refusal?.message).toContain("there is no cluster in it");
  await expect(guard.admit()).rejects.toThrow("there is no cluster in it");
  expect(await guard.confirm()).toBe(false);

  await fill({ epoch: 3, serial: 7, job: 11 });
  const again = await guard.trusted(NEVER);
  expect(again.aborted).toBe(false);
  expect(guard.refusal).toBeUndefined();
  await guard.admit();
  expect(await written()).not.toHaveProperty("loss");
});

test("a master that is started later notices as well", async () => {
  await fill({ epoch: 3, serial: 7, job: 11 });
  await (await openGuard()).confirm();
  await fill({ epoch: 3, serial: 7, job: 10 });
  const later = await openGuard();
  await vi.waitFor(() => expect(later.refusal?.message).toContain("the last job's id is 10 and was 11"));
});

test("what this master was told since its last look is missed, too", async () => {
  await fill({ epoch: 3, serial: 7, job: 11 });
  const guard = await openGuard({ lookIntervalMs: 60_000 });
  await guard.trusted(NEVER);
  guard.saw({ lastJob: 12 });
  expect(await guard.confirm()).toBe(false);
  expect(guard.refusal?.message).toContain("the last job's id is 11 and was 12");
});

test("jobs that come in while Redis is looked at are no loss", async () => {
  await fill({ epoch: 3, serial: 7, job: 0 });
  const guard = await openGuard({ lookIntervalMs: 1 });
  await guard.trusted(NEVER);
  for (let job = 1; job <= 300; job += 1) guard.saw({ lastJob: await server.client.incr("gannet:jobs:serial") });
  expect(await guard.confirm()).toBe(true);
});

test("after a lost connection nothing is admitted before Redis was looked at again", async () => {
  await fill({ epoch: 3, serial: 7, job: 11 });
  const guard = await openGuard({ lookIntervalMs: 60_000 });
  const trust = await guard.trusted(NEVER);
  await server.kill();
  await vi.waitFor(() => expect(guard.trusted(AbortSignal.timeout(1))).rejects.toThrow("timeout"));
  const admission = guard.admit();
  await server.start();
  await admission;
  expect(trust.aborted).toBe(false);
});

describe("acceptance", () => {
  test("goes on with what there is, beyond the epochs and job ids that were in use", async () => {
    await fill({ epoch: 3, serial: 7, job: 11 });
    const guard = await openGuard();
    const trust = await guard.trusted(NEVER);
    await guard.confirm();
    await fill({ epoch: 1, serial: 2, job: 5 });
    await aborted(trust);
    const file = await WatermarkFile.below(folder);
    await vi.waitFor(async () => expect(await file.read()).toHaveProperty("loss"));
    expect(await acceptLoss(file)).toEqual([
      "the leader's epoch is 1 and was 3",
      "the configuration's serial is 2 and was 7",
      "the last job's id is 5 and was 11",
    ]);
    await guard.trusted(NEVER);
    expect(Number(await server.client.get("gannet:epoch"))).toBeGreaterThan(3);
    expect(Number(await server.client.get("gannet:jobs:serial"))).toBeGreaterThan(11);
    expect(await written()).toMatchObject({ configurationSerial: 2 });
  });

  test("is kept for the next start, where no master runs", async () => {
    await fill({ epoch: 3, serial: 7, job: 11 });
    const first = await openGuard();
    await first.confirm();
    await fill({ epoch: 3, serial: 7, job: 1 });
    await vi.waitFor(() => expect(first.refusal).toBeDefined());
    await first.close();
    await acceptLoss(await WatermarkFile.below(folder));
    await (await openGuard()).trusted(NEVER);
  });

  test("of nothing is refused: it would hide the next loss", async () => {
    await fill({ epoch: 3, serial: 7, job: 11 });
    await (await openGuard()).confirm();
    await expect(acceptLoss(await WatermarkFile.below(folder))).rejects.toThrow(OpPrereqError);
  });
});

test("a damaged watermark is named, and nothing is guessed", async () => {
  await writeFile(path.join(folder, "watermark.json"), '{"epoch": 3');
  await expect(openGuard()).rejects.toThrow(ConfigurationError);
  await expect(openGuard()).rejects.toThrow("watermark.json is damaged");
});

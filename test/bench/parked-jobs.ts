/** Ten thousand jobs parked on one instance's lock: what they are to other jobs, to the lock and to the master. */
import type { Job, JobId } from "@gannet/job-ledger";
import { type LockWish, RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { connectRedis, type Redis } from "@gannet/redis";
import { eventually } from "../e2e/conditions.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { median, print, residentKib, timed } from "./figures.ts";
import { liveHeapKib } from "./heap.ts";
import { HeldInstance } from "./held-instance.ts";
import { disklessInstance } from "./instances.ts";
import { jobOf, LedgerJobs, rapiJob, redisSocket } from "./jobs.ts";

const PARKED = 10_000;
/** In one call of the ledger. */
const PER_CALL = 2_500;
const OTHER_JOBS = 200;
/** Jobs at either end of the queue whose turns are timed; those between are canceled. */
const TURNS = 200;
const FEW = 10;
const RELEASES = 200;

export async function benchParkedJobs(cluster: OneMachineCluster): Promise<void> {
  await using jobs = new LedgerJobs(cluster);
  await cluster.succeed("POST", "/2/instances", disklessInstance("other.gannet.test", 2));
  const held = await HeldInstance.create(cluster);
  const timesBefore = await otherJobs(cluster, jobs);
  const before = await memory(cluster);
  const ids = await park(jobs, held.name);
  const after = await memory(cluster);
  const value = median(await otherJobs(cluster, jobs));

  const perJob = { unit: "KiB", goal: "value <= 4" };
  const { residentKib: resident, heapKib: heap } = after;
  print({
    name: "resident memory of master per parked job",
    value: (resident - before.residentKib) / PARKED,
    ...perJob,
  });
  print({ name: "heap of master per parked job", value: (heap - before.heapKib) / PARKED, ...perJob });
  await benchTurns(jobs, held, ids);
  // Before and after, so that it does not matter when the machine had other work beside.
  const baseline = median([...timesBefore, ...(await otherJobs(cluster, jobs))]);
  print({
    name: `a job on another instance while ${PARKED} are parked on one's lock, median`,
    value,
    unit: "ms",
    baseline,
    ratio: value / baseline,
    goal: "ratio <= 1.3",
  });
  await benchRelease(cluster);
}

/** Of the master, once everything that can be collected has been. */
async function memory(cluster: OneMachineCluster) {
  const master = await cluster.pid("master");
  const heapKib = await liveHeapKib(master);
  return { heapKib, residentKib: residentKib(master) };
}

/** Tags come and go on an instance that nothing else uses. @returns how long each job takes, in ms */
async function otherJobs(cluster: OneMachineCluster, jobs: LedgerJobs): Promise<readonly number[]> {
  const ids: JobId[] = [];
  let there = false;
  const times = await timed(OTHER_JOBS, async () => {
    ids.push(await rapiJob(cluster, there ? "DELETE" : "PUT", "/2/instances/other.gannet.test/tags?tag=there"));
    there = !there;
  });
  await jobs.succeeded(ids);
  return times;
}

/** Jobs that need the held instance's lock. Resolves when all of them wait for it. */
async function park(jobs: LedgerJobs, instance: string): Promise<readonly JobId[]> {
  const job = jobOf({ OP_ID: "OP_TAGS_SET", kind: "instance", name: instance, tags: ["parked"] });
  const ids: JobId[] = [];
  while (ids.length < PARKED) ids.push(...(await jobs.ledger.submit(Array.from({ length: PER_CALL }, () => job))));
  await eventually("all are parked", async () => (await jobs.ledger.counts()).waiting === PARKED);
  return ids;
}

/** How long the lock is free between two of its holders: with all the others waiting, and with few. */
async function benchTurns(jobs: LedgerJobs, held: HeldInstance, ids: readonly JobId[]): Promise<void> {
  const between = ids.slice(TURNS, -TURNS).toReversed();
  await held.release();
  await jobs.succeeded(ids.slice(0, TURNS));
  const crowdedUntilMs = Date.now();
  await jobs.cancel(between);
  await jobs.ended(between);
  const quietFromMs = Date.now();
  await jobs.succeeded(ids.slice(-TURNS));
  const ran = (await jobs.ledger.getMany(ids)).filter((job) => job?.status === "success");
  const turns = turnsOf(ran);
  const crowdedMs = median(turns.filter(({ atMs }) => atMs <= crowdedUntilMs).map(({ ms }) => ms));
  const quietMs = median(turns.filter(({ atMs }) => atMs > quietFromMs).map(({ ms }) => ms));
  print({
    name: `from the end of a lock's holder to the start of the next with ${PARKED} waiting, median`,
    value: crowdedMs,
    unit: "ms",
    baseline: quietMs,
    ratio: crowdedMs / quietMs,
    goal: "ratio <= 2",
  });
}

/** From the end of each job to the start of the next one. */
function turnsOf(jobs: readonly (Job | undefined)[]): readonly { readonly atMs: number; readonly ms: number }[] {
  const spans = jobs
    .flatMap((job) => job?.opcodes ?? [])
    .map(({ execTimestamp, endTimestamp }) => ({
      execMs: milliseconds(execTimestamp),
      endMs: milliseconds(endTimestamp),
    }))
    .sort((a, b) => a.execMs - b.execMs);
  return spans
    .slice(1)
    .map(({ execMs }, index) => ({ atMs: execMs, ms: execMs - (spans[index]?.endMs ?? Number.NaN) }));
}

function milliseconds(timestamp: readonly [sec: number, usec: number] | null): number {
  return timestamp === null ? Number.NaN : timestamp[0] * 1_000 + timestamp[1] / 1_000;
}

/** The lock manager's own part in it: what Redis spends on a release that grants the lock to the next. */
async function benchRelease(cluster: OneMachineCluster): Promise<void> {
  const redis = connectRedis({ kind: "socket", path: redisSocket(cluster) }, { name: "bench" });
  try {
    const few = await releaseMicroseconds(redis, FEW);
    const many = await releaseMicroseconds(redis, PARKED);
    print({
      name: `releasing a lock with ${PARKED} waiters, Redis' time`,
      value: many,
      unit: "µs",
      baseline: few,
      ratio: many / few,
      goal: "ratio <= 2",
    });
  } finally {
    redis.disconnect();
  }
}

/** @returns the median of several releases, each with this many waiters */
async function releaseMicroseconds(redis: Redis, waiters: number): Promise<number> {
  const { epoch = 0 } = (await new RedisLeaderElection(redis, { holder: "bench" }).current()) ?? {};
  const locks = new RedisLockManager(redis);
  const fence = { epoch };
  const wishes: readonly LockWish[] = [
    { level: "cluster", name: "BGL", mode: "shared" },
    { level: "instance", name: `with-${waiters}-waiters.gannet.test`, mode: "exclusive" },
  ];
  // Far from the numbers of jobs, whose locks these are not.
  let last = 1_000_000_000;
  const add = () => locks.request({ owner: ++last, wishes, priority: 0 }, fence);
  let holder = last + 1;
  await Promise.all(Array.from({ length: waiters + 1 }, add));
  const microseconds: number[] = [];
  while (microseconds.length < RELEASES) {
    await redis.config("RESETSTAT");
    const granted = await locks.release(holder, "all", fence);
    const stats = await redis.info("commandstats");
    // More than one call: the master ran a script of its own in between, and nobody knows whose the time was.
    const [, spent] = /^cmdstat_evalsha:calls=1,usec=(\d+)/m.exec(stats) ?? [];
    if (spent !== undefined) microseconds.push(Number(spent));
    if (granted.length !== 1 || granted[0] !== holder + 1) throw new Error(`granted were ${granted}`);
    holder += 1;
    await add();
  }
  // From the last to the first: none of these is granted the lock meanwhile.
  const left = Array.from({ length: last - holder + 1 }, (_, index) => last - index);
  await Promise.all(left.map((owner) => locks.release(owner, "all", fence)));
  return median(microseconds);
}

/** Jobs that do nothing, one at a time and many at once, beside raw BullMQ jobs on the same Redis. */
import type { JobId } from "@gannet/job-ledger";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { median, print, timed } from "./figures.ts";
import { disklessInstance } from "./instances.ts";
import { type JobSource, LedgerJobs, perSecond, rapiJob, rawBullMq, submitApart } from "./jobs.ts";

const WARM_UP = 500;
/** Both sides take turns, so that what else the machine does meets both. */
const TURNS = 4;
const ONE_BY_ONE = 75;
const AT_ONCE = 5_000;

export async function benchQueue(cluster: OneMachineCluster): Promise<void> {
  await using raw = await rawBullMq(cluster);
  await using ours = new LedgerJobs(cluster);
  for (const source of [raw, ours]) await submitApart(source, WARM_UP);
  await oneByOne(cluster, raw, ours);
  await atOnce("submitted at once", raw, ours, (source) => submitApart(source, AT_ONCE));
  await atOnce("submitted at once, in one call", raw, ours, (source) => perSecond(AT_ONCE, source.batch(AT_ONCE)));
}

/**
 * By the remote API it is the static description of one instance: of all resources that submit a job the nearest to
 * doing nothing. It takes no lock but the shared big one, as every job does, asks no node and changes nothing.
 */
async function oneByOne(cluster: OneMachineCluster, raw: JobSource, ours: LedgerJobs): Promise<void> {
  await cluster.succeed("POST", "/2/instances", disklessInstance("noop.gannet.test", 1));
  const ids: JobId[] = [];
  const byRapi = async () => {
    ids.push(await rapiJob(cluster, "GET", "/2/instances/noop.gannet.test/info?static=1"));
  };
  const [baseline = 0, ...values] = await takingTurns(
    [() => raw.one(), byRapi, () => ours.one()].map((one) => () => timed(ONE_BY_ONE, one)),
  );
  await ours.succeeded(ids);
  const goals = [
    { way: "remote API", goal: 3 },
    { way: "ledger", goal: 5 },
  ];
  for (const [index, { way, goal }] of goals.entries()) {
    const value = values[index] ?? 0;
    print({
      name: `no-op job by the ${way}, one at a time, submit to finished, median`,
      value,
      unit: "ms",
      baseline,
      ratio: value / baseline,
      goal: `ratio <= ${goal}`,
    });
  }
}

async function atOnce(
  how: string,
  raw: JobSource,
  ours: JobSource,
  rate: (source: JobSource) => Promise<number>,
): Promise<void> {
  const [baseline = 0, value = 0] = await takingTurns([raw, ours].map((source) => async () => [await rate(source)]));
  print({
    name: `no-op jobs, ${AT_ONCE} ${how}`,
    value,
    unit: "jobs/s",
    baseline,
    ratio: value / baseline,
    goal: "ratio >= 0.5",
  });
}

/** The median of what each measurement finds in all its turns. */
async function takingTurns(measurements: readonly (() => Promise<readonly number[]>)[]): Promise<readonly number[]> {
  const found: number[][] = measurements.map(() => []);
  for (let turn = 0; turn < TURNS; turn += 1)
    for (const [index, measure] of measurements.entries()) found[index]?.push(...(await measure()));
  return found.map(median);
}

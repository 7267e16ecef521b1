/** Whether jobs get slower as the ledger fills with old ones. */
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { median, print } from "./figures.ts";
import { type JobSource, jobOf, LedgerJobs, NOOP, rawBullMq, submitApart } from "./jobs.ts";

const WARM_UP = 1_000;
const BURSTS = 5;
const AT_ONCE = 2_000;
const OLD_JOBS = 100_000;
/** In one call of the ledger, which takes no more. */
const PER_CALL = 5_000;
/** Longer than a submission and canceling it take. */
const BLOCKER_S = 3;

export async function benchFullLedger(cluster: OneMachineCluster): Promise<void> {
  await using raw = await rawBullMq(cluster);
  await using jobs = new LedgerJobs(cluster, { maxUnfinishedJobs: 2 * OLD_JOBS });
  for (const source of [raw, jobs]) await submitApart(source, WARM_UP);
  const few = await bursts(raw, jobs, "few old ones in the ledger");
  await fill(jobs, OLD_JOBS / 2);
  await jobs.ledger.autoArchive(-1, 60_000);
  await fill(jobs, OLD_JOBS / 2);
  const many = await bursts(raw, jobs, `${OLD_JOBS} old ones in the ledger, half of them archived`);
  // Minutes lie between them, in which the machine may have got other work: what BullMQ did meanwhile tells.
  print({ name: `${OLD_JOBS} old jobs by few, both by BullMQ`, value: many / few, unit: "", goal: "value >= 0.9" });
}

/** @returns the rate of jobs by that of raw BullMQ */
async function bursts(raw: JobSource, jobs: JobSource, circumstances: string): Promise<number> {
  const rates = { raw: [] as number[], jobs: [] as number[] };
  for (let burst = 0; burst < BURSTS; burst += 1) {
    rates.raw.push(await submitApart(raw, AT_ONCE));
    rates.jobs.push(await submitApart(jobs, AT_ONCE));
  }
  const [value, baseline] = [median(rates.jobs), median(rates.raw)];
  const ratio = value / baseline;
  print({ name: `no-op jobs, ${AT_ONCE} at once, ${circumstances}`, value, unit: "jobs/s", baseline, ratio });
  return ratio;
}

/**
 * Old jobs that cost no running: all but the first of each submission wait for the first one's end, and are canceled
 * before that.
 */
async function fill(jobs: LedgerJobs, count: number): Promise<void> {
  const blocker = jobOf({ OP_ID: "OP_TEST_DELAY", duration: BLOCKER_S });
  const others = Array.from({ length: PER_CALL - 1 }, (_, index) => waitingFor(-(index + 1)));
  const blockers: number[] = [];
  for (let made = 0; made < count; made += PER_CALL) {
    const [first = 0, ...rest] = await jobs.ledger.submit([blocker, ...others]);
    blockers.push(first);
    await jobs.cancel(rest);
    await jobs.ended(rest);
  }
  await jobs.succeeded(blockers);
}

function waitingFor(job: number): typeof NOOP {
  const opcodes = NOOP.opcodes.map(({ input, summary }) => ({ input: { ...input, depends: [[job, []]] }, summary }));
  return { ...NOOP, opcodes };
}

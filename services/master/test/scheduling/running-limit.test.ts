/** How many jobs run at once, and when none are taken. */
import { JobQueueDrainError } from "@gannet/errors";
import type { JobId } from "@gannet/job-ledger";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type ExecutorTestbed, startExecutorTestbed } from "./executor-testbed.ts";

let bed: ExecutorTestbed;
beforeEach(async () => {
  bed = await startExecutorTestbed({ maxRunningJobs: 2 });
});
afterEach(() => bed[Symbol.asyncDispose]());

const running = (count: number) =>
  vi.waitFor(() => expect(bed.running.size).toBe(count), { timeout: 10_000, interval: 5 });

test("max_running_jobs raised and lowered under load takes effect at once, and never more run", async () => {
  const jobs: JobId[] = [];
  for (let n = 0; n < 60; n += 1) jobs.push(await bed.submit({}));
  await running(2);

  await bed.setCluster({ maxRunningJobs: 25 });
  await running(25);

  // Those that run go on; none begins until fewer are left than are allowed now.
  await bed.setCluster({ maxRunningJobs: 3 });
  for (const id of [...bed.running].slice(0, 22)) {
    bed.end(id);
    await vi.waitFor(async () => expect(await bed.statusOf(id)).toBe("success"));
  }
  expect(bed.running.size).toBe(3);
  expect(bed.begun).toHaveLength(25);

  for (let begun = 26; begun <= jobs.length; begun += 1) {
    bed.end(...[...bed.running].slice(0, 1));
    await vi.waitFor(() => expect(bed.begun).toHaveLength(begun), { timeout: 10_000, interval: 5 });
    expect(bed.running.size).toBe(3);
  }
  expect(bed.begun.toSorted((a, b) => a - b)).toEqual(jobs);
});

test("a drained queue takes no job, and runs those that it has", async () => {
  const jobs = [await bed.submit({}), await bed.submit({}), await bed.submit({})];
  await bed.ledger.setDrained(true);
  await expect(bed.submit({})).rejects.toThrow(JobQueueDrainError);
  for (const id of jobs) {
    await vi.waitFor(() => expect(bed.running).toContain(id), { timeout: 10_000 });
    bed.end(id);
  }
  await bed.settled([]);
  await bed.ledger.setDrained(false);
  const later = await bed.submit({});
  expect(later).toBe(jobs.length + 1);
  await bed.settled([later]);
});

/** The short form of `make faults`: each daemon is killed once and frozen once, under load. */
import { expect, test } from "vitest";
import { faultSeed } from "./seeded-random.ts";
import { findings, report, runUnderLoad } from "./under-load.ts";

const JOBS = 500;
/** Five daemons, two ways. */
const KILLS = 10;

test(`${JOBS} jobs, and ${KILLS} faults among them`, async () => {
  const seed = faultSeed();
  console.log(`GANNET_FAULT_SEED=${seed}`);
  const result = await runUnderLoad({ seed, jobs: JOBS, kills: KILLS });
  console.log(report(seed, result));
  // As text: what is left of a failed run may be this one line.
  expect(findings(result).join("; ")).toBe("");
  expect(result.accepted).toBeGreaterThanOrEqual(JOBS);
  // Or it was no load: the rest met daemons that were away, or instances whose creation had.
  expect(result.succeeded).toBeGreaterThan(JOBS / 5);
}, 300_000);

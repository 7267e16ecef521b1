/**
 * Random histories of the ledger, with connections cut between any two calls and leaders that die.
 *
 * GANNET_HISTORIES sets how many are tried, GANNET_SEED repeats a run.
 */
import { startTestRedis, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { afterAll, beforeAll, test } from "vitest";
import { Lane, LedgerHistory, step } from "./ledger-history.ts";

const HISTORIES = Number(process.env.GANNET_HISTORIES ?? 300);
const SEED = Number(process.env.GANNET_SEED ?? Date.now() % 2 ** 31);
/** Mostly for making a history that fails smaller; without that they take a small part of it. */
const TIME_LIMIT_MS = 60_000 + HISTORIES * 300;
const MAX_STEPS = 50;
/** Tried beside each other: most of the time of one passes in waiting for connections. */
const LANES = 8;

let server: TestRedis;
let lanes: readonly Lane[];
let underWay: Promise<readonly PromiseSettledResult<void>[]> | undefined;
beforeAll(async () => {
  server = await startTestRedis();
  // Redis itself does not crash here, and without the disk there is time for more histories.
  await server.client.config("SET", "appendonly", "no");
  lanes = await Promise.all(Array.from({ length: LANES }, (_, database) => Lane.open(server, database)));
  await lanes[0]?.teachScripts();
});
afterAll(async () => {
  // When time is up nobody else waits for the histories that were being tried.
  await underWay;
  await Promise.all(lanes.map((lane) => lane.close()));
  await server.stop();
});

const history = fc.record({
  steps: fc.array(step, { maxLength: MAX_STEPS, size: "max" }),
  by: fc.constantFrom("a new leader", "the present leader"),
});
const bundle = fc.array(history, { minLength: LANES, maxLength: LANES });

test(`${HISTORIES} random histories`, { timeout: TIME_LIMIT_MS + 20_000 }, async () => {
  console.info(`ledger histories: ${HISTORIES}, GANNET_SEED=${SEED}`);
  await fc.assert(
    fc.asyncProperty(bundle, async (histories) => {
      const tried = histories.map(async ({ steps, by }, number) => {
        const lane = lanes[number];
        if (lane === undefined) throw new Error("there are fewer lanes than histories");
        const one = await LedgerHistory.begin(lane);
        for (const each of steps) await one.take(each);
        await one.complete({ by });
      });
      // One that fails must not leave the others running into the next ones.
      underWay = Promise.allSettled(tried);
      for (const each of await underWay) if (each.status === "rejected") throw each.reason;
    }),
    {
      numRuns: Math.ceil(HISTORIES / LANES),
      seed: SEED,
      interruptAfterTimeLimit: TIME_LIMIT_MS,
      markInterruptAsFailure: true,
    },
  );
});

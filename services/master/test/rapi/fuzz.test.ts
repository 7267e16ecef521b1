/**
 * Requests that the declarations allow, nearly allow and forbid, by the thousand, to a master that carries them out.
 *
 * GANNET_FUZZ_REQUESTS sets how many are sent, GANNET_FUZZ_SEED repeats a run.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { OpPrereqError } from "@gannet/errors";
import type { Job } from "@gannet/job-ledger";
import { parseOpcode } from "@gannet/opcodes";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FuzzBed, type Marks, startFuzzBed } from "../fuzz/fuzz-bed.ts";
import { type FuzzRequest, fuzzOpcode, fuzzRequest } from "../fuzz/fuzz-requests.ts";
import type { Reply } from "./rapi-testbed.ts";

const REQUESTS = Number(process.env.GANNET_FUZZ_REQUESTS ?? 1000);
const SEED = Number(process.env.GANNET_FUZZ_SEED ?? Date.now() % 2 ** 31);
/** Each so many begin on a new cluster, so that what one has ruined does not hide what others find. */
const ROUND = 250;
/** Opcodes without a resource, for so many requests one. */
const OPCODES_PER_REQUEST = 0.2;
/** Sent at once, now and then; else one waits for the end of what the one before it began. */
const BURST = 6;
/** What stands for "not built" and "not now"; anything else from 500 on is a defect. */
const ALLOWED: ReadonlySet<number> = new Set([501, 503]);
/** More than a round leaves behind by chance, and less than what a thousand kept answers are. */
const GROWTH_LIMIT_BYTES = 64 * 2 ** 20;

/** Words of an error that tell of a defect rather than of what was asked. */
const INTERNAL =
  /TypeError|RangeError|SyntaxError|ReferenceError|ZodError|Cannot (read|convert|destructure)|is not (a function|iterable|defined)|undefined|\[object |\bNaN\b|internal_error|OpResultError|call stack|'(null|)' is not known/;

const unhandled: unknown[] = [];
const keep = (reason: unknown) => unhandled.push(reason);
beforeEach(() => void process.on("unhandledRejection", keep));
afterEach(() => {
  process.off("unhandledRejection", keep);
  expect(unhandled.splice(0)).toEqual([]);
});

function seedOf(round: number): number {
  return SEED + round * 7919;
}

test(`${REQUESTS} requests`, { timeout: 60_000 + REQUESTS * 200 }, async () => {
  console.info(`fuzz: GANNET_FUZZ_REQUESTS=${REQUESTS} GANNET_FUZZ_SEED=${SEED}`);
  const statuses = new Map<number, number>();
  const outcomes = new Map<string, number>();
  const succeeded = new Set<string>();
  const heap: number[] = [];
  for (let round = 0; round * ROUND < REQUESTS; round++) {
    const count = Math.min(ROUND, REQUESTS - round * ROUND);
    const requests = fc.sample(fuzzRequest, { seed: seedOf(round), numRuns: count });
    await using bed = await startFuzzBed();
    for (const group of grouped(requests)) {
      const told = `round ${round} (GANNET_FUZZ_SEED=${seedOf(round)}), ${group.map(shown).join("; ")}`;
      const before = await bed.marks();
      const replies = await Promise.all(group.map((request) => bed.ask(request)));
      for (const [i, reply] of replies.entries()) {
        const request = group[i];
        if (request !== undefined) expectSane(request, reply);
        counted(statuses, reply.status);
      }
      if (replies.every(({ status }) => status >= 400)) expect(await bed.marks(), told).toEqual(before);
      for (const job of await expectEnds(bed, before, told))
        for (const { input, status } of job.opcodes) {
          counted(outcomes, status);
          if (status === "success") succeeded.add(input.OP_ID);
        }
    }
    await expectClean(bed);
    heap.push(heapAfterCollection());
  }
  console.info("fuzz:", {
    statuses: Object.fromEntries(statuses),
    opcodes: Object.fromEntries(outcomes),
    succeeded: succeeded.size,
  });
  const [, settled = 0] = heap;
  expect((heap.at(-1) ?? 0) - settled, `heap after each round: ${heap}`).toBeLessThan(GROWTH_LIMIT_BYTES);
  if (REQUESTS < ROUND) return;
  for (const status of [200, 400, 404])
    expect(statuses.get(status) ?? 0, String(status)).toBeGreaterThan(REQUESTS / 50);
  for (const outcome of ["success", "error"])
    expect(outcomes.get(outcome) ?? 0, outcome).toBeGreaterThan(REQUESTS / 50);
});

const OPCODES = Math.ceil(REQUESTS * OPCODES_PER_REQUEST);

test(`${OPCODES} opcodes that no resource submits`, { timeout: 60_000 + OPCODES * 200 }, async () => {
  console.info(`fuzz: GANNET_FUZZ_SEED=${SEED}`);
  const outcomes = new Map<string, number>();
  for (let round = 0; round * ROUND < OPCODES; round++) {
    const count = Math.min(ROUND, OPCODES - round * ROUND);
    await using bed = await startFuzzBed();
    for (const opcode of fc.sample(fuzzOpcode, { seed: seedOf(round), numRuns: count })) {
      const told = `round ${round} (GANNET_FUZZ_SEED=${seedOf(round)}), ${JSON.stringify(opcode).slice(0, 4000)}`;
      const { OP_ID: id, ...params } = opcode;
      const before = await bed.marks();
      if (!isValid(opcode, told)) {
        counted(outcomes, "invalid");
        continue;
      }
      const { status } = await bed.units.run(id, params);
      counted(outcomes, status);
      await expectEnds(bed, before, told);
    }
    await expectClean(bed);
  }
  console.info("fuzz:", Object.fromEntries(outcomes));
  for (const outcome of ["invalid", "success", "error"])
    if (OPCODES >= ROUND) expect(outcomes.get(outcome) ?? 0, outcome).toBeGreaterThan(OPCODES / 20);
});

function shown({ method, target, text = "" }: Omit<FuzzRequest, "declared">): string {
  return `${method} ${target.slice(0, 500)} ${text.slice(0, 2000)}`;
}

/** Mostly one by one; every tenth begins several at once. */
function grouped(requests: readonly FuzzRequest[]): readonly (readonly FuzzRequest[])[] {
  const groups: FuzzRequest[][] = [];
  for (let next = 0; next < requests.length; ) {
    const size = groups.length % 10 === 9 ? BURST : 1;
    groups.push(requests.slice(next, next + size));
    next += size;
  }
  return groups;
}

function expectSane({ method, target, text, declared }: FuzzRequest, reply: Reply): void {
  const told = `${shown({ method, target, text })} was answered ${reply.status} ${reply.text.slice(0, 1000)}`;
  expect(reply.status < 500 || ALLOWED.has(reply.status), told).toBe(true);
  if (method === "HEAD") return;
  if (reply.status !== 200) {
    expect(reply.json, told).toEqual({
      code: reply.status,
      message: expect.any(String),
      explain: expect.any(String),
    });
    expect((reply.json as { readonly message: string }).message, told).not.toMatch(INTERNAL);
    return;
  }
  if (method !== declared.method || target.includes("..")) return;
  if (declared.kind === "job") expect(reply.json, told).toEqual(expect.any(Number));
  else if (declared.mediaType === undefined) {
    const bulk = declared.bulkResult !== undefined && /[?&]bulk=[^0&]/.test(target);
    const checked = (bulk ? declared.bulkResult : declared.result)?.safeParse(reply.json);
    expect(checked?.error?.message, told).toBeUndefined();
  }
}

/** Everything that was accepted ends, and none of it for a reason of our own. @returns the jobs since `before` */
async function expectEnds(bed: FuzzBed, { lastJob }: Marks, told: string): Promise<readonly Job[]> {
  await bed.settle().catch((error: Error) => expect.fail(`${told}: ${error.message}`));
  const jobs = await bed.jobsAfter(lastJob);
  for (const { id, opcodes } of jobs)
    for (const { input, status, result } of opcodes) {
      if (status !== "error") continue;
      const which = `${told}: job ${id} ${JSON.stringify(input).slice(0, 2000)} ended ${JSON.stringify(result)}`;
      expect(JSON.stringify(result), which).not.toMatch(INTERNAL);
    }
  expect(bed.defects, told).toEqual([]);
  expect(bed.strays(), told).toEqual([]);
  expect(await bed.units.locks.list(), told).toEqual([]);
  bed.units.nodes.calls.length = 0;
  return jobs;
}

/** The cluster still answers, and is in order as far as it knows itself. */
async function expectClean(bed: FuzzBed): Promise<void> {
  const { status } = await bed.ask({ method: "GET", target: "/2/info", text: undefined } as FuzzRequest);
  expect(status).toBe(200);
  const { log } = await bed.units.succeed("OP_CLUSTER_VERIFY_CONFIG", {});
  // Roles may be set so, with force.
  const errors = log.filter((line) => line.includes("ERROR") && !line.includes("Not enough master candidates"));
  expect(errors).toEqual([]);
  expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
}

function isValid(opcode: unknown, told: string): boolean {
  try {
    parseOpcode(JSON.parse(JSON.stringify(opcode)));
    return true;
  } catch (error) {
    expect(error, told).toBeInstanceOf(OpPrereqError);
    return false;
  }
}

function counted<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function heapAfterCollection(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().heapUsed;
}

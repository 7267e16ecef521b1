import { Unavailable } from "@gannet/errors";
import type { Job, JobId } from "@gannet/job-ledger";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { JobWaiters } from "../../src/rapi/job-waiters.ts";

const LONG_MS = 60_000;
const never = new AbortController().signal;

let waiters: JobWaiters;
let change: (id: JobId) => void;
let gap: () => void;
let unsubscribe: () => void;
/** What the ledger is asked for; a test answers each reading. */
let readings: { readonly id: JobId; readonly answer: (job: Job | Promise<never>) => void }[];

beforeEach(() => {
  readings = [];
  unsubscribe = vi.fn();
  waiters = new JobWaiters({
    get: (id) => new Promise((answer) => readings.push({ id, answer })),
    onChange: (listener, onGap = () => undefined) => {
      change = (id) => listener({ id, status: "running" });
      gap = onGap;
      return unsubscribe;
    },
  });
});
afterEach(() => vi.useRealTimers());

const job = (id: JobId, status: string) => ({ id, status }) as Job;
/** Waits until the job has the status. */
const until = (id: JobId, status: string, timeoutMs = LONG_MS, signal = never) =>
  waiters.until(id, (seen) => (seen?.status === status ? status : undefined), timeoutMs, signal);
const turn = () => new Promise((resolve) => setImmediate(resolve));

async function answer(status: string): Promise<void> {
  const reading = readings.shift();
  if (reading === undefined) throw new Error("nothing was asked for");
  reading.answer(job(reading.id, status));
  await turn();
}

test("what is there already is answered without waiting", async () => {
  const waiting = until(1, "running");
  await answer("running");
  expect(await waiting).toBe("running");
  expect(waiters.size).toBe(0);
});

test("looks again at each change of its job, at no other's, and at no time of its own", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout"] });
  const waiting = until(1, "success");
  await answer("queued");
  change(2);
  await turn();
  expect(readings).toEqual([]);
  // Its end is the only thing it has a timer for.
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(LONG_MS - 1);
  expect(readings).toEqual([]);
  change(1);
  await answer("running");
  change(1);
  await answer("success");
  expect(await waiting).toBe("success");
  expect(waiters.size).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("a change during a reading is not missed, and many count as one", async () => {
  const waiting = until(1, "success");
  for (let i = 0; i < 5; i++) change(1);
  expect(readings).toHaveLength(1);
  await answer("queued");
  expect(readings).toHaveLength(1);
  await answer("success");
  expect(await waiting).toBe("success");
  expect(readings).toEqual([]);
});

test("after a gap everybody looks again", async () => {
  const waiting = [until(1, "success"), until(2, "success")];
  await answer("queued");
  await answer("queued");
  gap();
  await answer("success");
  await answer("success");
  expect(await Promise.all(waiting)).toEqual(["success", "success"]);
});

test("those who wait for one job share its readings", async () => {
  const waiting = Array.from({ length: 1_000 }, () => until(1, "success"));
  // The first one's, and one for all who came while it was under way.
  await answer("queued");
  await answer("queued");
  expect(readings).toEqual([]);
  expect(waiters.size).toBe(1_000);
  change(1);
  expect(readings).toHaveLength(1);
  await answer("success");
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(["success"]));
  expect(waiters.size).toBe(0);
});

test("who comes during a reading is not shown what is older than that", async () => {
  const first = until(1, "queued");
  const late = until(1, "queued", 50);
  await answer("queued");
  expect(await first).toBe("queued");
  await answer("running");
  expect(await late).toBeUndefined();
});

test("one who is told leaves the others waiting", async () => {
  const [running, over] = [until(1, "running"), until(1, "success")];
  await answer("queued");
  await answer("queued");
  change(1);
  await answer("running");
  expect(await running).toBe("running");
  expect(waiters.size).toBe(1);
  change(1);
  await answer("success");
  expect(await over).toBe("success");
});

test.for([
  ["time is up", { timeoutMs: 5, signal: () => never }],
  ["the signal is aborted", { timeoutMs: LONG_MS, signal: () => AbortSignal.timeout(5) }],
] as const)("nothing is answered when %s", async ([_label, { timeoutMs, signal }]) => {
  const waiting = until(1, "success", timeoutMs, signal());
  await answer("queued");
  expect(await waiting).toBeUndefined();
  expect(waiters.size).toBe(0);
  change(1);
  expect(readings).toEqual([]);
});

test("nothing is asked when the signal was aborted before", async () => {
  expect(await until(1, "success", LONG_MS, AbortSignal.abort())).toBeUndefined();
  expect(readings).toEqual([]);
});

test("a reading that fails ends the waits that it was for", async () => {
  const waiting = until(1, "success");
  readings.shift()?.answer(Promise.reject(new Unavailable("no Redis")));
  await expect(waiting).rejects.toThrow("no Redis");
  expect(waiters.size).toBe(0);
});

test("a look that fails ends its wait, and no other's", async () => {
  const other = until(1, "success");
  const failing = waiters.until(1, () => expect.unreachable("no such job"), LONG_MS, never);
  await answer("queued");
  readings.shift()?.answer(job(1, "success"));
  await expect(failing).rejects.toThrow("no such job");
  expect(await other).toBe("success");
});

test("closing ends the listening", () => {
  waiters.close();
  expect(unsubscribe).toHaveBeenCalledOnce();
});

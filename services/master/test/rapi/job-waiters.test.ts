import type { JobChange } from "@gannet/job-ledger";
import { beforeEach, expect, test, vi } from "vitest";
import { JobWaiters } from "../../src/rapi/job-waiters.ts";

const LONG_MS = 60_000;

let waiters: JobWaiters;
let change: (id: number) => void;
beforeEach(() => {
  let listener: (change: JobChange) => void = () => undefined;
  waiters = new JobWaiters({
    onChange: (given) => {
      listener = given;
      return () => undefined;
    },
  });
  change = (id) => listener({ id, status: "running" });
});

const never = new AbortController().signal;

test("what is there already is answered without waiting", async () => {
  expect(await waiters.until(1, async () => "there", LONG_MS, never)).toBe("there");
  expect(waiters.size).toBe(0);
});

test("looks again at each change of its job, and at no other's", async () => {
  let left = 3;
  const look = vi.fn(async () => (--left === 0 ? "found" : undefined));
  const waiting = waiters.until(1, look, LONG_MS, never);
  await vi.waitFor(() => expect(look).toHaveBeenCalledTimes(1));
  change(2);
  change(1);
  await vi.waitFor(() => expect(look).toHaveBeenCalledTimes(2));
  change(1);
  expect(await waiting).toBe("found");
  expect(look).toHaveBeenCalledTimes(3);
  expect(waiters.size).toBe(0);
});

test("a change while it looks is not missed, and many count as one", async () => {
  const answers = [undefined, "found"];
  const look = vi.fn(async () => {
    const answer = answers.shift();
    for (let i = 0; i < 5; i++) change(1);
    return answer;
  });
  expect(await waiters.until(1, look, LONG_MS, never)).toBe("found");
  expect(look).toHaveBeenCalledTimes(2);
});

test.for([
  ["time is up", { timeoutMs: 5, signal: () => never }],
  ["the signal is aborted", { timeoutMs: LONG_MS, signal: () => AbortSignal.timeout(5) }],
  ["it was aborted before", { timeoutMs: LONG_MS, signal: () => AbortSignal.abort() }],
] as const)("nothing is answered when %s", async ([_label, { timeoutMs, signal }]) => {
  const look = vi.fn(async () => undefined);
  expect(await waiters.until(1, look, timeoutMs, signal())).toBeUndefined();
  expect(look).toHaveBeenCalledTimes(1);
  expect(waiters.size).toBe(0);
  change(1);
  expect(look).toHaveBeenCalledTimes(1);
});

test("a look that fails ends the wait", async () => {
  await expect(waiters.until(1, () => Promise.reject(new Error("no such job")), LONG_MS, never)).rejects.toThrow(
    "no such",
  );
  expect(waiters.size).toBe(0);
});

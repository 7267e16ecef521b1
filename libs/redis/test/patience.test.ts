/** Trying again while Redis is away. */
import { Unavailable } from "@gannet/errors";
import { patiently, RedisUnreachable } from "@gannet/redis";
import { expect, test } from "vitest";

/** Fails with these, one after another, and then tells how many attempts there were before. */
function failing(...errors: readonly Error[]) {
  const seen: number[] = [];
  return {
    seen,
    attempt: async (earlier: number) => {
      seen.push(earlier);
      const error = errors[earlier];
      if (error !== undefined) throw error;
      return earlier;
    },
  };
}

test("it is tried until it succeeds, and told how often it was tried before", async () => {
  const { attempt, seen } = failing(new Unavailable("1"), new RedisUnreachable("2"));
  expect(await patiently(attempt, { forMs: 10_000 })).toBe(2);
  expect(seen).toEqual([0, 1, 2]);
});

test("what is no trouble of Redis is thrown at once, and so is trouble that does not pass", async () => {
  const defect = failing(new Error("a defect"));
  await expect(patiently(defect.attempt, { forMs: 10_000 })).rejects.toThrow("a defect");
  const full = failing(new Unavailable("memory is full"));
  const worthRetrying = (error: Unavailable) => error instanceof RedisUnreachable;
  await expect(patiently(full.attempt, { forMs: 10_000, worthRetrying })).rejects.toThrow("memory is full");
  expect([defect.seen, full.seen]).toEqual([[0], [0]]);
});

test("when patience is over, or was ended, the last failure is thrown", async () => {
  const away = Array.from({ length: 1_000 }, (_, n) => new Unavailable(`failure ${n}`));
  const impatient = failing(...away);
  await expect(patiently(impatient.attempt, { forMs: 0 })).rejects.toThrow("failure 0");
  const patient = failing(...away);
  const begun = performance.now();
  await expect(patiently(patient.attempt, { forMs: 100 })).rejects.toThrow(/failure [1-9]/);
  expect(performance.now() - begun).toBeLessThan(5_000);

  const ended = new AbortController();
  const closing = failing(...away);
  const trying = patiently(closing.attempt, { forMs: Number.POSITIVE_INFINITY, signal: ended.signal });
  ended.abort();
  await expect(trying).rejects.toThrow("failure");
  expect(closing.seen.length).toBeLessThan(3);
});

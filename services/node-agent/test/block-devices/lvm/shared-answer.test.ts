import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { shareAnswer } from "../../../src/block-devices/lvm/shared-answer.ts";

/** A question whose answers the test gives one by one. */
function question() {
  const asked: {
    readonly answer: (text: string) => void;
    readonly fail: (error: Error) => void;
    readonly signal: AbortSignal;
  }[] = [];
  const ask = shareAnswer((signal) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    asked.push({ answer: resolve, fail: reject, signal });
    signal.addEventListener("abort", () => reject(signal.reason));
    return promise;
  });
  const reach = async (count: number) => {
    while (asked.length < count) await setImmediate();
    return asked[count - 1];
  };
  return { ask, asked, reach };
}
const { signal } = new AbortController();

test("those who ask at the same time share one answer", async () => {
  const { ask, asked, reach } = question();
  const answers = [ask(signal), ask(signal), ask(signal)];
  (await reach(1))?.answer("one");
  expect(await Promise.all(answers)).toEqual(["one", "one", "one"]);
  expect(asked).toHaveLength(1);
});

test("who asks while an answer is sought gets a newer one, and one is sought at a time", async () => {
  const { ask, asked, reach } = question();
  const first = ask(signal);
  const one = await reach(1);
  const later = [ask(signal), ask(signal)];
  await setImmediate();
  expect(asked).toHaveLength(1);
  one?.answer("old");
  (await reach(2))?.answer("new");
  expect([await first, ...(await Promise.all(later))]).toEqual(["old", "new", "new"]);
});

test("a failure is everyone's, and the next question is asked anew", async () => {
  const { ask, reach } = question();
  const failed = [ask(signal), ask(signal)];
  (await reach(1))?.fail(new Error("no answer"));
  for (const each of await Promise.allSettled(failed))
    expect(each).toMatchObject({ status: "rejected", reason: new Error("no answer") });
  const again = ask(signal);
  (await reach(2))?.answer("here");
  expect(await again).toBe("here");
});

test("who gives up gets their own reason, and the others their answer", async () => {
  const { ask, reach } = question();
  const abort = new AbortController();
  const impatient = ask(abort.signal);
  const patient = ask(signal);
  const one = await reach(1);
  abort.abort(new Error("enough"));
  await expect(impatient).rejects.toThrow("enough");
  expect(one?.signal.aborted).toBe(false);
  one?.answer("here");
  expect(await patient).toBe("here");
});

test("when all give up the search ends, and nobody joins it", async () => {
  const { ask, reach } = question();
  const abort = new AbortController();
  const [first, second] = [ask(abort.signal), ask(abort.signal)];
  const one = await reach(1);
  abort.abort(new Error("enough"));
  await expect(first).rejects.toThrow("enough");
  await expect(second).rejects.toThrow("enough");
  expect(one?.signal.aborted).toBe(true);
  const again = ask(signal);
  (await reach(2))?.answer("here");
  expect(await again).toBe("here");
});

test("a search that all gave up before it began is not joined either", async () => {
  const { ask, asked, reach } = question();
  const abort = new AbortController();
  const first = ask(abort.signal);
  abort.abort(new Error("enough"));
  await expect(first).rejects.toThrow("enough");
  const again = ask(signal);
  while (asked.every(({ signal: each }) => each.aborted)) await setImmediate();
  (await reach(asked.length))?.answer("here");
  expect(await again).toBe("here");
});

import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { silentLogger } from "@gannet/telemetry";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { StepJournal } from "../../src/rpc/step-journal.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-journal-"));
  file = path.join(folder, "steps");
});
afterEach(() => rm(folder, { recursive: true }));

const BOOT = { boot: "first", logger: silentLogger() };
const open = (limits = { maxAgeMs: 60_000, maxAnswers: 100_000 }, parts = BOOT) =>
  StepJournal.open(file, parts, limits);
const reply = (text: string) => ({ reply: Buffer.from(text) });

test("replies of any bytes, empty ones and errors come back from disk", async () => {
  const answers = [
    { reply: Buffer.alloc(0) },
    { reply: Buffer.from([0, 255, 10, 13]) },
    { error: { kind: "OpPrereqError", message: "a\nb ü", code: "wrong_input" } },
    { error: { kind: "CommandError", message: "" } },
  ];
  const journal = await open();
  await Promise.all(answers.map((answer, index) => journal.record(`s${index}`, answer)));
  await journal.close();
  const reopened = await open();
  for (const [index, answer] of answers.entries()) expect(reopened.answer(`s${index}`)).toEqual(answer);
  expect(reopened.answer("s9")).toBeUndefined();
  await reopened.close();
});

test("an answer tells of which boot it is", async () => {
  await writeFile(file, `{"step":"of old","at":${Date.now()},"reply":""}\n`);
  const journal = await open();
  await journal.record("a", reply("1"));
  expect(journal.answer("a", "this boot")).toEqual(reply("1"));
  await journal.close();
  const next = await open(undefined, { ...BOOT, boot: "second" });
  expect(next.answer("a", "this boot")).toBeUndefined();
  expect(next.answer("a")).toEqual(reply("1"));
  expect(next.answer("of old", "this boot")).toEqual(reply(""));
  await next.record("a", reply("2"));
  expect(next.answer("a", "this boot")).toEqual(reply("2"));
  await next.close();
});

test("an answer is on disk when it is recorded", async () => {
  const journal = await open();
  await journal.record("a", reply("x"));
  expect(await readFile(file, "utf8")).toMatch(/^\{"step":"a",.*\}\n$/);
  await journal.close();
});

test("a line that a crash cut, and one that was damaged, are left out", async () => {
  const journal = await open();
  await journal.record("a", reply("1"));
  await journal.record("b", reply("2"));
  await journal.close();
  const text = await readFile(file, "utf8");
  await writeFile(file, `garbage\n${text}{"step":"c","at":17`);
  const reopened = await open();
  expect(reopened.answer("a")).toEqual(reply("1"));
  expect(reopened.answer("c")).toBeUndefined();
  await reopened.record("d", reply("4"));
  await reopened.close();
  const third = await open();
  expect(third.answer("d")).toEqual(reply("4"));
  expect(third.answer("b")).toEqual(reply("2"));
  await third.close();
});

test("the oldest answers go when there are too many, and those past their age", async () => {
  const journal = await open({ maxAgeMs: 60_000, maxAnswers: 3 });
  for (const name of ["a", "b", "c", "d"]) await journal.record(name, reply(name));
  expect(journal.answer("a")).toBeUndefined();
  expect(journal.answer("d")).toEqual(reply("d"));
  await journal.close();
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 61_000 });
  try {
    const later = await open();
    expect(later.answer("d")).toBeUndefined();
    await later.close();
  } finally {
    vi.useRealTimers();
  }
});

test("the file does not grow without bound", async () => {
  const journal = await open({ maxAgeMs: 60_000, maxAnswers: 50 });
  const largest: number[] = [];
  for (let round = 0; round < 40; round += 1) {
    await Promise.all(Array.from({ length: 100 }, (_, i) => journal.record(`${round}/${i}`, reply("0123456789"))));
    largest.push((await readFile(file, "utf8")).split("\n").length);
  }
  expect(Math.max(...largest)).toBeLessThan(1_300);
  expect(journal.answer("39/99")).toEqual(reply("0123456789"));
  await journal.close();
  const reopened = await open();
  expect(reopened.answer("39/50")).toEqual(reply("0123456789"));
  await reopened.close();
});

test("what was written just before the file is written anew is in it", async () => {
  const journal = await open();
  for (let round = 0; round < 1_000; round += 1) await journal.record("same", reply("x"));
  await Promise.all([journal.record("a", reply("1")), journal.record("b", reply("2"))]);
  await journal.close();
  const reopened = await open();
  expect([reopened.answer("a"), reopened.answer("b")]).toEqual([reply("1"), reply("2")]);
  await reopened.close();
});

test("whatever is recorded in whatever order, the last answer of each step is what a restart finds", async () => {
  const record = fc.tuple(fc.constantFrom("a", "b", "c", "d e", 'q"'), fc.uint8Array({ maxLength: 20 }));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(record, { maxLength: 5 }), { maxLength: 6 }),
      fc.nat(),
      async (batches, cutAt) => {
        await rm(file, { force: true });
        const expected = new Map<string, Buffer>();
        const journal = await open();
        for (const batch of batches) {
          await Promise.all(batch.map(([step, bytes]) => journal.record(step, { reply: Buffer.from(bytes) })));
          for (const [step, bytes] of batch) expected.set(step, Buffer.from(bytes));
        }
        await journal.close();
        const torn = JSON.stringify({ step: "a", at: Date.now(), reply: "dG9ybg==" });
        await appendFile(file, torn.slice(0, cutAt % torn.length));
        const reopened = await open();
        for (const [step, bytes] of expected) expect(reopened.answer(step)).toEqual({ reply: bytes });
        await reopened.close();
      },
    ),
    { numRuns: 40 },
  );
});

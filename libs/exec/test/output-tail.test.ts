import fc from "fast-check";
import { expect, test } from "vitest";
import { OutputTail } from "../src/output-tail.ts";

test("whatever is pushed, exactly the last bytes are kept", () => {
  const chunks = fc.array(
    fc.oneof(
      fc.string({ maxLength: 40 }),
      fc.integer({ min: 0, max: 20_000 }).map((n) => "y".repeat(n)),
    ),
  );
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 9_000 }), chunks, (limit, texts) => {
      const tail = new OutputTail(limit);
      const all = texts.map((text) => text.replaceAll(/[^\x20-\x7e]/g, "?")).join("");
      for (const text of texts) tail.push(Buffer.from(text.replaceAll(/[^\x20-\x7e]/g, "?")));
      expect(tail.text()).toBe(limit === 0 ? "" : all.slice(-limit));
      expect(tail.truncated).toBe(all.length > limit);
    }),
  );
});

test("a character cut by the limit is left out", () => {
  const tail = new OutputTail(4);
  tail.push(Buffer.from("€€"));
  expect(tail.text()).toBe("€");
});

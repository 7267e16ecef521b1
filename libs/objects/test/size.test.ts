import { parseSizeMib } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

describe("parseSizeMib", () => {
  it.each([
    [128, 128],
    ["128", 128],
    ["128m", 128],
    ["1 g", 1024],
    ["1.5 GiB", 1536],
    ["2T", 2 * 1024 * 1024],
    ["0.3m", 1],
    [0, 0],
  ])("reads %j as %d MiB", (written, mib) => {
    expect(parseSizeMib(written)).toBe(mib);
  });

  it.each([
    " 1g",
    1.5,
    "",
    "m",
    "12x",
    "1k",
    "-1",
    "1e3",
    "0x10",
    "1..5",
    Number.NaN,
    -4,
    1e300,
    null,
    true,
    {},
    [128],
    "9".repeat(40),
  ])("refuses %j", (written) => {
    expect(parseSizeMib(written)).toBeUndefined();
  });

  it("gives a unit the same meaning in every spelling, and never less than was asked", () => {
    const units = fc.constantFrom(["m", 1], ["g", 1024], ["t", 1024 * 1024] as const);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99_999 }), fc.integer({ min: 0, max: 999 }), units, (whole, part, unit) => {
        const [letter, factor] = unit as [string, number];
        const number = `${whole}.${String(part).padStart(3, "0")}`;
        const sizes = [letter, letter.toUpperCase(), `${letter}b`, `${letter}iB`].map((u) => parseSizeMib(number + u));
        expect(new Set(sizes).size).toBe(1);
        const exact = Number(number) * factor;
        expect(sizes[0]).toBeGreaterThanOrEqual(exact);
        expect(sizes[0]).toBeLessThan(exact + 1);
      }),
    );
  });
});

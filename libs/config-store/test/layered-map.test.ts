/** The layered map against a plain one: every version must stay what it was when it was made. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { LayeredMap } from "../src/layered-map.ts";

/** More than a layer holds before it is folded. */
const KEYS = 100;
const edit = fc.tuple(fc.integer({ min: 0, max: KEYS }), fc.option(fc.integer(), { nil: undefined }));
const batches = fc.array(fc.uniqueArray(edit, { maxLength: 30, selector: ([key]) => key }), {
  maxLength: 30,
  size: "max",
});

test("each version has what a plain map would have, however many versions follow", () => {
  fc.assert(
    fc.property(batches, (edits) => {
      let map = LayeredMap.empty<number, number>();
      let plain = new Map<number, number>();
      const versions = [{ map, plain }];
      for (const batch of edits) {
        map = map.with(batch);
        plain = new Map(plain);
        for (const [key, value] of batch)
          if (value === undefined) plain.delete(key);
          else plain.set(key, value);
        versions.push({ map, plain });
      }
      for (const version of versions) expectSame(version.map, version.plain);
    }),
  );
});

function expectSame(map: LayeredMap<number, number>, plain: ReadonlyMap<number, number>): void {
  const byKey = ([a]: readonly [number, number], [b]: readonly [number, number]) => a - b;
  const visited: [number, number][] = [];
  map.forEach((value, key) => {
    visited.push([key, value]);
  });
  const expected = [...plain].sort(byKey);
  expect(map.size).toBe(plain.size);
  expect([...map].sort(byKey)).toEqual(expected);
  expect(visited.sort(byKey)).toEqual(expected);
  expect([...map.keys()].sort((a, b) => a - b)).toEqual(expected.map(([key]) => key));
  expect([...map.values()].sort((a, b) => a - b)).toEqual(expected.map(([, value]) => value).sort((a, b) => a - b));
  for (let key = 0; key <= KEYS; key++) {
    expect(map.get(key)).toBe(plain.get(key));
    expect(map.has(key)).toBe(plain.has(key));
  }
}

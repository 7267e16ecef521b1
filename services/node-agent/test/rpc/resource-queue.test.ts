import { StaleEpoch } from "@gannet/errors";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ResourceQueue } from "../../src/rpc/resource-queue.ts";

const RESOURCES = ["disk a", "disk b", "instance c"];

interface Work {
  readonly resources: readonly string[];
  readonly epoch: number;
  readonly ignoresAbort: boolean;
  readonly callerLeaves: boolean;
}
const work: fc.Arbitrary<Work> = fc.record({
  resources: fc.subarray(RESOURCES),
  epoch: fc.integer({ min: 1, max: 3 }),
  ignoresAbort: fc.boolean(),
  callerLeaves: fc.boolean(),
});

test("whatever comes: no two works on one resource at once, in order, none left behind, lower epochs give way", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(work, { maxLength: 12 }), fc.scheduler(), async (works, scheduler) => {
      const queue = new ResourceQueue();
      const busy = new Map<string, number>();
      const begun: number[] = [];
      const outcomes = works.map(async ({ resources, epoch, ignoresAbort, callerLeaves }, id) => {
        const caller = new AbortController();
        if (callerLeaves) void scheduler.schedule(Promise.resolve()).then(() => caller.abort(new Error("left")));
        const perform = async (signal: AbortSignal) => {
          begun.push(id);
          for (const resource of resources) {
            expect(busy.get(resource)).toBeUndefined();
            busy.set(resource, epoch);
          }
          await scheduler.schedule(Promise.resolve());
          for (const resource of resources) busy.delete(resource);
          if (!ignoresAbort) signal.throwIfAborted();
          return id;
        };
        return queue.run({ resources, epoch, signal: caller.signal, check: () => {}, perform }).catch((error) => error);
      });
      await scheduler.waitFor(Promise.all(outcomes));
      const results = await Promise.all(outcomes);
      for (const [id, result] of results.entries()) {
        const { epoch, resources, callerLeaves } = works[id] as Work;
        if (result instanceof StaleEpoch) {
          const later = works.slice(id + 1);
          expect(later.some((other) => other.epoch > epoch && other.resources.some((r) => resources.includes(r)))).toBe(
            true,
          );
        } else if (result !== id) expect(callerLeaves).toBe(true);
      }
      for (const resource of RESOURCES) {
        const order = begun.filter((id) => works[id]?.resources.includes(resource));
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    }),
    { numRuns: 300 },
  );
});

test("work that waited is asked again whether it may begin", async () => {
  const queue = new ResourceQueue();
  const refused = queue.run({
    resources: ["x"],
    epoch: 1,
    signal: new AbortController().signal,
    check: () => {
      throw new StaleEpoch("over");
    },
    perform: async () => "done",
  });
  await expect(refused).rejects.toThrow("over");
});

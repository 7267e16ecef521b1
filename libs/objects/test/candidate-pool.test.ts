/** How many master candidates there should be, and who becomes one. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { candidatePool, type GroupUuid, type Node, type NodeUuid, newNode } from "../src/index.ts";

const flags = fc.record({
  masterCandidate: fc.boolean(),
  offline: fc.boolean(),
  drained: fc.boolean(),
  masterCapable: fc.boolean(),
});
const nodes = fc.array(flags, { maxLength: 8 }).map((all) =>
  all.map((each, position): Node => {
    const name = `node${position}.gnt.test`;
    const identity = { uuid: `uuid-${position}` as NodeUuid, name, primaryIp: `192.0.2.${position + 1}` };
    const row = newNode(identity, "group" as GroupUuid, 1, { masterCandidate: false });
    // Only one of the three flags is ever set.
    const only = each.offline ? { offline: true } : each.drained ? { drained: true } : {};
    const isCandidate = each.masterCandidate && each.masterCapable && Object.keys(only).length === 0;
    return { ...row, ...only, masterCapable: each.masterCapable, masterCandidate: isCandidate };
  }),
);
const canBe = ({ offline, drained, masterCapable }: Node) => masterCapable && !offline && !drained;

it("promotes as many as are missing, of those that can be candidates, and nobody who is left out", () => {
  fc.assert(
    fc.property(nodes, fc.nat({ max: 10 }), fc.nat({ max: 7 }), (all, candidatePoolSize, leftOut) => {
      const without = all[leftOut] === undefined ? [] : [all[leftOut].uuid];
      const pool = candidatePool({ candidatePoolSize }, all, without);
      const others = all.filter(({ uuid }) => !without.includes(uuid));
      expect(pool.wanted).toBe(Math.min(candidatePoolSize, others.filter(canBe).length));
      expect(pool.candidates).toBe(others.filter(({ masterCandidate }) => masterCandidate).length);
      expect(pool.promoted).toHaveLength(Math.max(0, pool.wanted - pool.candidates));
      for (const node of pool.promoted) {
        expect(canBe(node) && !node.masterCandidate).toBe(true);
        expect(without).not.toContain(node.uuid);
      }
    }),
  );
});

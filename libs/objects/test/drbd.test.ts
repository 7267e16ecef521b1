import { allocateMinor, type Disk, drbdMinorsInUse, MAX_DRBD_MINOR, type NodeUuid } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

const NODES = ["a", "b", "c", "d"] as unknown as NodeUuid[];

type Drbd = Pick<Disk, "uuid" | "template" | "logicalId">;

function drbd(number: number, nodes: readonly [NodeUuid, NodeUuid], minors: readonly [number, number]): Drbd {
  return {
    uuid: `disk-${number}` as Disk["uuid"],
    template: "drbd",
    logicalId: [...nodes, 11_000 + number, ...minors, "5ec2e7"],
  };
}

describe("DRBD minors", () => {
  it("are never those of another disk on the node, and the lowest that are free", () => {
    const step = fc.oneof(
      fc.record({ add: fc.uniqueArray(fc.nat(NODES.length - 1), { minLength: 2, maxLength: 2 }) }),
      fc.record({ remove: fc.nat(100) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let disks: Drbd[] = [];
        for (const [number, change] of steps.entries()) {
          if ("remove" in change) {
            disks = disks.filter((_, position) => position !== change.remove % (disks.length || 1));
            continue;
          }
          const pair = change.add.map((position) => NODES[position]) as [NodeUuid, NodeUuid];
          const first = allocateMinor(drbdMinorsInUse(disks), pair[0], "a");
          const second = allocateMinor(first.inUse, pair[1], "b");
          disks.push(drbd(number, pair, [first.minor, second.minor]));
          for (const node of NODES) {
            const minors = disks.flatMap(({ logicalId: [a, b, , x, y] }) => (node === a ? [x] : node === b ? [y] : []));
            expect(new Set(minors).size, `node ${node}: ${minors}`).toBe(minors.length);
          }
          const others = disks.slice(0, -1);
          const usedBefore = drbdMinorsInUse(others).get(pair[0]) ?? new Set();
          for (let minor = 0; minor < first.minor; minor += 1) expect(usedBefore.has(minor)).toBe(true);
        }
      }),
    );
  });

  it("count for several disks that are allocated one after the other", () => {
    const [a, b] = NODES as [NodeUuid, NodeUuid];
    const first = allocateMinor(new Map(), a, "a");
    const second = allocateMinor(first.inUse, a, "a");
    expect([first.minor, second.minor, allocateMinor(second.inUse, b, "b").minor]).toEqual([0, 1, 0]);
  });

  it("end with an error that names the node", () => {
    const [a] = NODES as [NodeUuid];
    const all = new Map([[a, new Set(Array.from({ length: MAX_DRBD_MINOR + 1 }, (_, minor) => minor))]]);
    expect(() => allocateMinor(all, a, "node1.example.com")).toThrow(/node1\.example\.com/);
  });

  it("are not read from what is no DRBD disk", () => {
    const broken = { ...drbd(1, ["a", "b"] as unknown as [NodeUuid, NodeUuid], [0, 0]), logicalId: ["vg", "lv"] };
    expect(() => drbdMinorsInUse([broken])).toThrow(/disk-1/);
    expect(drbdMinorsInUse([{ ...broken, template: "plain" }]).size).toBe(0);
  });
});

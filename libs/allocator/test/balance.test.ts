import { type AllocatorCluster, type AllocatorInstance, balancePlan } from "@gannet/allocator";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyCluster, clusterOf } from "./clusters.ts";
import { type Arrival, problemsAfter } from "./placement-check.ts";

describe("balancePlan", () => {
  function placedAfter(cluster: AllocatorCluster, moves: readonly { instance: string; to: readonly string[] }[]) {
    return moves.reduce((before, { instance, to }) => {
      const moved: Arrival = {
        name: instance,
        instance: { ...(before.instances[instance] as AllocatorInstance), nodes: to },
      };
      expect(problemsAfter(before, [moved])).toEqual([]);
      return moveIn(before, moved);
    }, cluster);
  }

  /** Memory and disk as they would be measured after the move. */
  function moveIn(cluster: AllocatorCluster, { name, instance }: Arrival): AllocatorCluster {
    const from = cluster.instances[name]?.nodes ?? [];
    const running = instance.admin_state === "up" ? instance.memory : 0;
    const disk = instance.disk_template === "diskless" ? 0 : instance.disk_space_total;
    const nodes = Object.entries(cluster.nodes).map(([node, row]) => {
      const change = (there: readonly string[], sign: number) => ({
        memory: there[0] === node ? sign * running : 0,
        disk: there.includes(node) ? sign * disk : 0,
      });
      const [gain, loss] = [change(from, 1), change(instance.nodes, -1)];
      if (row.free_memory === undefined || row.free_disk === undefined) return [node, row] as const;
      const free_memory = row.free_memory + gain.memory + loss.memory;
      return [node, { ...row, free_memory, free_disk: row.free_disk + gain.disk + loss.disk }] as const;
    });
    return { ...cluster, nodes: Object.fromEntries(nodes), instances: { ...cluster.instances, [name]: instance } };
  }

  it("makes only valid moves, each to a better score, which is that of the cluster then", () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        for (const { group, scoreBefore, scoreAfter, moves, jobSets } of balancePlan(cluster)) {
          let last = scoreBefore;
          for (const { score } of moves) {
            expect(score).toBeLessThan(last);
            last = score;
          }
          expect(scoreAfter).toBeCloseTo(last, 9);
          expect(jobSets.flat()).toEqual(moves.map(({ job }) => job));
          const after = placedAfter(cluster, moves);
          expect(balancePlan(after, { groups: [group], maxMoves: 0 })[0]?.scoreBefore).toBeCloseTo(scoreAfter, 9);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("plans nothing more for what it has balanced", () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        const plans = balancePlan(cluster);
        const after = placedAfter(
          cluster,
          plans.flatMap(({ moves }) => moves),
        );
        expect(balancePlan(after).flatMap(({ moves }) => moves)).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });

  const nodes = { a: {}, b: {}, c: {}, d: {} };
  const crowded = {
    one: { nodes: ["a", "b"], memory: 2_048 },
    two: { nodes: ["a", "b"], memory: 2_048 },
    three: { nodes: ["c", "d"], memory: 2_048 },
    four: { nodes: ["c", "d"], memory: 2_048 },
  };

  it("puts moves that share no node in one set of jobs", () => {
    const [plan] = balancePlan(clusterOf({ nodes, instances: crowded }), { diskMoves: "forbidden" });
    expect(plan?.moves.map(({ instance, from, to }) => [instance, from, to])).toEqual([
      ["four", ["c", "d"], ["d", "c"]],
      ["one", ["a", "b"], ["b", "a"]],
    ]);
    expect(plan?.jobSets.map((set) => set.length)).toEqual([2]);
  });

  it("keeps to what may be moved and how", () => {
    const cluster = clusterOf({ nodes, instances: crowded });
    const moved = (options: Parameters<typeof balancePlan>[1]) => balancePlan(cluster, options)[0]?.moves ?? [];
    expect(moved({ select: ["two"] }).map(({ instance }) => instance)).toEqual(["two"]);
    expect(moved({ exclude: ["one", "two", "three", "four"] })).toEqual([]);
    expect(moved({ maxMoves: 1 })).toHaveLength(1);
    expect(moved({ minScore: 1_000 })).toEqual([]);
    const twoSecondaries = clusterOf({
      nodes: { a: {}, b: {}, c: {} },
      instances: { one: { nodes: ["a", "b"] }, two: { nodes: ["a", "b"] } },
    });
    const [plan] = balancePlan(twoSecondaries, { instanceMoves: "forbidden" });
    expect(plan?.moves.map(({ instance, to }) => [instance, to])).toEqual([["one", ["a", "c"]]]);
  });

  it("empties an offline node and nothing else when asked to evacuate", () => {
    const cluster = clusterOf({ nodes: { ...nodes, a: { offline: true } }, instances: crowded });
    const [plan] = balancePlan(cluster, { mode: "evacuate" });
    expect(new Set(plan?.moves.map(({ instance }) => instance))).toEqual(new Set(["one", "two"]));
    const last = new Map(plan?.moves.map(({ instance, to }) => [instance, to]));
    expect([...last.values()].flat()).not.toContain("a");
    expect(plan?.moves[0]?.job[0]?.OP_ID).toBe("OP_INSTANCE_FAILOVER");
    // Each of the two weighs 4 for being there at all, and 16 for being there as the primary.
    expect(plan?.scoreBefore).toBeGreaterThan(40);
    expect(plan?.scoreAfter).toBeLessThan(4);
  });
});

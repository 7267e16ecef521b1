import {
  type AllocatorCluster,
  type AllocatorInstance,
  type AllocatorOpcode,
  type AllocatorRequest,
  solve,
} from "@gannet/allocator";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyCluster, clusterOf, GROUP_A, GROUP_B, policy } from "./clusters.ts";
import { type Arrival, problemsAfter } from "./placement-check.ts";

const RUNS = { numRuns: 400 };
type MoveRequest = Extract<AllocatorRequest, { type: "node-evacuate" | "change-group" }>;

interface Moves {
  readonly moved: readonly (readonly [string, string, readonly string[]])[];
  readonly failed: readonly (readonly [string, string])[];
  readonly jobs: readonly (readonly AllocatorOpcode[])[];
}

function moves(cluster: AllocatorCluster, request: MoveRequest): Moves {
  const { success, result } = solve({ ...cluster, request });
  expect(success).toBe(true);
  const [moved, failed, jobs] = result as [Moves["moved"], Moves["failed"], Moves["jobs"]];
  return { moved, failed, jobs };
}

function arrivals(cluster: AllocatorCluster, moved: Moves["moved"]): readonly Arrival[] {
  return moved.map(([name, , nodes]) => ({
    name,
    instance: { ...(cluster.instances[name] as AllocatorInstance), nodes },
  }));
}

/** Where the opcodes of a job bring an instance, as the operations behave. */
function nodesAfter(nodes: readonly string[], job: readonly AllocatorOpcode[]): readonly string[] {
  return job.reduce((at, opcode) => {
    const [primary = "", secondary] = at;
    if (opcode.OP_ID === "OP_INSTANCE_REPLACE_DISKS") return [primary, String(opcode.remote_node)];
    if (opcode.target_node !== undefined) return [String(opcode.target_node)];
    return [secondary ?? "", primary];
  }, nodes);
}

function nodesLeft(nodes: readonly string[], mode: string): readonly string[] {
  if (mode === "all") return nodes;
  return nodes.filter((_, role) => role === (mode === "primary-only" ? 0 : 1));
}

const anyMode = fc.constantFrom("all" as const, "primary-only" as const, "secondary-only" as const);

describe("node-evacuate", () => {
  it("leaves nothing behind that it does not list as failed, and goes only where there is room", () => {
    fc.assert(
      fc.property(anyCluster, anyMode, fc.nat(1_023), (cluster, evac_mode, mask) => {
        const instances = Object.keys(cluster.instances).filter((_, index) => (mask >> index) & 1);
        const { moved, failed, jobs } = moves(cluster, { type: "node-evacuate", instances, evac_mode });
        expect([...moved, ...failed].map(([name]) => name).sort()).toEqual(instances.toSorted());
        expect(jobs.length).toBe(moved.length);
        const left = instances.flatMap((name) => nodesLeft(cluster.instances[name]?.nodes ?? [], evac_mode));
        for (const [index, [name, group, nodes]] of moved.entries()) {
          const before = cluster.instances[name]?.nodes ?? [];
          for (const node of nodesLeft(nodes, evac_mode)) expect(left).not.toContain(node);
          expect(cluster.nodegroups[cluster.nodes[before[0] ?? ""]?.group ?? ""]?.name).toBe(group);
          expect(nodesAfter(before, jobs[index] ?? [])).toEqual(nodes);
        }
        expect(problemsAfter(cluster, arrivals(cluster, moved))).toEqual([]);
      }),
      RUNS,
    );
  });

  it("fails only what it must: a single secondary moves wherever it can", () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        for (const [name, instance] of Object.entries(cluster.instances)) {
          const [primary = "", secondary] = instance.nodes;
          if (secondary === undefined || instance.disk_template !== "drbd") continue;
          const { moved } = moves(cluster, { type: "node-evacuate", instances: [name], evac_mode: "secondary-only" });
          const reachable = !cluster.nodes[primary]?.offline;
          const possible = Object.keys(cluster.nodes).filter(
            (node) =>
              reachable &&
              node !== secondary &&
              problemsAfter(cluster, [{ name, instance: { ...instance, nodes: [primary, node] } }]).length === 0,
          );
          expect(moved.length > 0).toBe(possible.length > 0);
        }
      }),
      RUNS,
    );
  });

  const three = { a: {}, b: {}, c: {}, d: {} };

  it("lets a primary change places with its secondary", () => {
    const cluster = clusterOf({ nodes: three, instances: { web: { nodes: ["a", "b"] } } });
    expect(moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode: "primary-only" })).toEqual({
      moved: [["web", "group-a", ["b", "a"]]],
      failed: [],
      jobs: [
        [
          {
            OP_ID: "OP_INSTANCE_MIGRATE",
            instance_name: "web",
            allow_failover: true,
            allow_runtime_changes: false,
            ignore_hvversions: true,
          },
        ],
      ],
    });
  });

  it("says when the secondary cannot take over", () => {
    const nodes = { ...three, b: { drained: true } };
    const cluster = clusterOf({ nodes, instances: { web: { nodes: ["a", "b"] } } });
    expect(moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode: "primary-only" }).failed).toEqual([
      ["web", "its secondary node b takes no instances now"],
    ]);
  });

  it("replaces a secondary", () => {
    const cluster = clusterOf({ nodes: three, instances: { web: { nodes: ["a", "b"] } } });
    const { jobs } = moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode: "secondary-only" });
    expect(jobs).toEqual([
      [
        {
          OP_ID: "OP_INSTANCE_REPLACE_DISKS",
          instance_name: "web",
          mode: "replace_new_secondary",
          remote_node: "c",
          disks: [],
          early_release: false,
          ignore_ipolicy: false,
        },
      ],
    ]);
  });

  it("leaves both nodes by way of the new primary, or of the secondary when the primary is offline", () => {
    const ids = (offline: boolean) => {
      const cluster = clusterOf({ nodes: { ...three, a: { offline } }, instances: { web: { nodes: ["a", "b"] } } });
      const { jobs } = moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode: "all" });
      return jobs[0]?.map(({ OP_ID }) => OP_ID.replace("OP_INSTANCE_", ""));
    };
    expect(ids(false)).toEqual(["REPLACE_DISKS", "MIGRATE", "REPLACE_DISKS"]);
    expect(ids(true)).toEqual(["FAILOVER", "REPLACE_DISKS", "MIGRATE", "REPLACE_DISKS"]);
  });

  it("asks no disk of a secondary that becomes the primary, and memory of it if only for a while", () => {
    const instances = { web: { nodes: ["a", "b"], memory: 2_048 } };
    const possible = (row: object, offline: boolean, evac_mode: "all" | "primary-only") => {
      const cluster = clusterOf({ nodes: { ...three, a: { offline }, b: row }, instances });
      return moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode }).moved.length === 1;
    };
    expect(possible({ disk: 1_024 }, false, "primary-only")).toBe(true);
    expect(possible({ memory: 2_048 }, true, "all")).toBe(true);
    expect(possible({ memory: 1_024 }, true, "all")).toBe(false);
    expect(possible({ memory: 1_024 }, false, "all")).toBe(true);
  });

  it("moves an instance on shared storage to any node, and says why others cannot move", () => {
    const instances = {
      shared: { nodes: ["a"], disk_template: "rbd" },
      local: { nodes: ["a"], disk_template: "plain" },
    };
    const { moved, failed, jobs } = moves(clusterOf({ nodes: { a: {}, b: {} }, instances }), {
      type: "node-evacuate",
      instances: ["shared", "local", "absent"],
      evac_mode: "primary-only",
    });
    expect(moved).toEqual([["shared", "group-a", ["b"]]]);
    expect(jobs[0]?.[0]).toMatchObject({ OP_ID: "OP_INSTANCE_MIGRATE", target_node: "b", allow_failover: true });
    expect(failed).toEqual([
      ["local", "instance local of template plain cannot be relocated"],
      ["absent", "there is no instance absent"],
    ]);
  });

  it("does not migrate to a node that lacks a migration tag of the source, unless another tag allows it", () => {
    const possible = (rules: readonly string[], target: readonly string[]) => {
      const nodes = { a: { tags: ["hv:old"] }, b: { tags: target } };
      const cluster = clusterOf({
        tags: ["htools:migration:hv", ...rules],
        nodes,
        instances: { web: { nodes: ["a", "b"] } },
      });
      return (
        moves(cluster, { type: "node-evacuate", instances: ["web"], evac_mode: "primary-only" }).moved.length === 1
      );
    };
    expect(possible([], ["hv:new"])).toBe(false);
    expect(possible([], ["hv:new", "hv:old"])).toBe(true);
    expect(possible(["htools:allowmigration:hv:old::hv:new"], ["hv:new"])).toBe(true);
    expect(possible(["htools:allowmigration:hv:new::hv:old"], ["hv:new"])).toBe(false);
  });
});

describe("change-group", () => {
  const groups = { [GROUP_A]: {}, [GROUP_B]: {} };
  const nodes = { a1: {}, a2: {}, b1: { group: GROUP_B }, b2: { group: GROUP_B } };
  const instances = { web: { nodes: ["a1", "a2"] } };

  it("moves only to groups that may take instances, where there is room", () => {
    fc.assert(
      fc.property(anyCluster, fc.subarray([GROUP_A, GROUP_B]), (cluster, target_groups) => {
        const names = Object.keys(cluster.instances);
        const output = solve({ ...cluster, request: { type: "change-group", instances: names, target_groups } });
        if (!output.success) return;
        const [moved] = output.result as [Moves["moved"]];
        for (const [name, group] of moved) {
          expect(cluster.nodes[cluster.instances[name]?.nodes[0] ?? ""]?.group).not.toBe(group);
          const target = Object.values(cluster.nodegroups).find((candidate) => candidate.name === group);
          expect(target?.alloc_policy).not.toBe("unallocable");
        }
        expect(problemsAfter(cluster, arrivals(cluster, moved))).toEqual([]);
      }),
      RUNS,
    );
  });

  it("brings a mirrored instance to two nodes of the other group", () => {
    const { moved, jobs } = moves(clusterOf({ groups, nodes, instances }), {
      type: "change-group",
      instances: ["web"],
      target_groups: [],
    });
    expect(moved).toEqual([["web", "group-b", ["b1", "b2"]]]);
    expect(jobs[0]?.map(({ OP_ID, remote_node = null }) => [OP_ID, remote_node])).toEqual([
      ["OP_INSTANCE_REPLACE_DISKS", "b1"],
      ["OP_INSTANCE_MIGRATE", null],
      ["OP_INSTANCE_REPLACE_DISKS", "b2"],
    ]);
  });

  it("keeps an instance that the other group's policy does not take", () => {
    const strict = { ...groups, [GROUP_B]: { ipolicy: policy({ "disk-templates": ["plain"] }) } };
    const { failed } = moves(clusterOf({ groups: strict, nodes, instances }), {
      type: "change-group",
      instances: ["web"],
      target_groups: [GROUP_B],
    });
    expect(failed[0]?.[1]).toContain("disk template drbd is not among the allowed");
  });

  it.each([
    ["an unknown group", ["00000000-0000-4000-8000-000000000000"], "there is no node group 00000000"],
    ["the group it is in", [GROUP_A], "there is no node group to which the instances could go"],
  ])("fails for %s", (_, target_groups, reason) => {
    const cluster = clusterOf({ groups, nodes, instances });
    const output = solve({ ...cluster, request: { type: "change-group", instances: ["web"], target_groups } });
    expect(output.success).toBe(false);
    expect(output.info).toContain(reason);
  });
});

describe("relocate", () => {
  function relocate(cluster: AllocatorCluster, name: string, relocate_from: readonly string[]) {
    return solve({
      ...cluster,
      request: { type: "relocate", name, disk_space_total: 0, required_nodes: 1, relocate_from },
    });
  }

  it("finds another secondary in the same group whenever there is one", () => {
    fc.assert(
      fc.property(anyCluster, (cluster) => {
        for (const [name, instance] of Object.entries(cluster.instances)) {
          const [primary = "", secondary] = instance.nodes;
          if (instance.disk_template !== "drbd" || secondary === undefined) continue;
          if (cluster.nodes[primary]?.offline) continue;
          const { success, result } = relocate(cluster, name, [secondary]);
          const possible = Object.keys(cluster.nodes).filter(
            (node) =>
              node !== secondary &&
              problemsAfter(cluster, [{ name, instance: { ...instance, nodes: [primary, node] } }]).length === 0,
          );
          if (success) expect(possible).toContain((result as string[])[0]);
          else expect(possible).toEqual([]);
        }
      }),
      RUNS,
    );
  });

  it("gives an instance on shared storage another primary", () => {
    const cluster = clusterOf({ nodes: { a: {}, b: {} }, instances: { web: { nodes: ["a"], disk_template: "rbd" } } });
    const { info, result } = relocate(cluster, "web", ["a"]);
    expect(result).toEqual(["b"]);
    expect(info).toMatch(/^Request successful: score: [\d.]+, successes 1, failures 0 \(\) for node\(s\) b$/);
  });

  it("keeps a mirrored instance on its primary, and a local one where it is", () => {
    const instances = { web: { nodes: ["a", "b"] }, local: { nodes: ["a"], disk_template: "plain" } };
    const cluster = clusterOf({ nodes: { a: {}, b: {}, c: {} }, instances });
    expect(relocate(cluster, "web", ["a"]).info).toContain("only be relocated from its secondary");
    expect(relocate(cluster, "local", ["a"]).info).toContain("cannot be relocated");
    expect(relocate(cluster, "absent", ["a"]).info).toContain("there is no instance absent");
  });
});

describe("allocate-secondary", () => {
  function secondaryOf(cluster: AllocatorCluster) {
    return solve({ ...cluster, request: { type: "allocate-secondary", name: "web" } });
  }

  it("finds room for the second copy with its metadata", () => {
    const instances = { web: { nodes: ["a"], disk_template: "plain" } };
    const nodes = { a: {}, b: { disk: 10 * 1_024 }, c: { disk: 10 * 1_024 + 128 } };
    expect(secondaryOf(clusterOf({ nodes, instances })).result).toBe("c");
    expect(secondaryOf(clusterOf({ nodes: { a: {}, b: nodes.b }, instances })).info).toContain("FailDisk: 1");
  });

  it("needs room for metadata on the primary node too", () => {
    const instances = { web: { nodes: ["a"], disk_template: "plain" } };
    const withDisk = (disk: number) => secondaryOf(clusterOf({ nodes: { a: { disk }, b: {} }, instances }));
    expect(withDisk(10 * 1_024 + 127).info).toContain("no room for the metadata");
    expect(withDisk(10 * 1_024 + 128).result).toBe("b");
  });

  it("refuses an instance that has one", () => {
    const cluster = clusterOf({ nodes: { a: {}, b: {}, c: {} }, instances: { web: { nodes: ["a", "b"] } } });
    expect(secondaryOf(cluster).info).toContain("takes no secondary");
  });
});

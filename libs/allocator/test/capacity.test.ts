import { capacity } from "@gannet/allocator";
import { describe, expect, it } from "vitest";
import { clusterOf, GROUP_A, GROUP_B, policy } from "./clusters.ts";

const STD = {
  "cpu-count": 1,
  "disk-count": 1,
  "disk-size": 10_240,
  "memory-size": 1_024,
  "nic-count": 1,
  "spindle-use": 1,
};

describe("capacity", () => {
  const ipolicy = policy({ std: STD, "disk-templates": ["plain", "drbd", "diskless"], "vcpu-ratio": 64 });
  const groups = { [GROUP_A]: { ipolicy }, [GROUP_B]: { ipolicy, alloc_policy: "unallocable" as const } };

  it("counts until memory, with what N+1 reserves, or disk is used up", () => {
    // Two nodes of 4 GiB hold 4 mirrored guests of 1 GiB: each keeps as much free as the other runs.
    const cluster = clusterOf({ groups, nodes: { a: { memory: 4_096 }, b: { memory: 4_096, disk: 30_720 } } });
    const counts = capacity(cluster, { groups: ["group-a"] }).map(({ template, count, limitedBy }) => [
      template,
      count,
      limitedBy,
    ]);
    expect(counts).toEqual([
      ["plain", 7, "FailDisk: 1, FailMem: 1"],
      ["drbd", 2, "FailDisk: 2"],
      ["diskless", 8, "FailMem: 2"],
    ]);
    const roomy = clusterOf({ groups, nodes: { a: { memory: 4_096 }, b: { memory: 4_096 } } });
    expect(capacity(roomy, { groups: [GROUP_A], templates: ["drbd"] })).toMatchObject([
      { count: 4, limitedBy: "FailN1: 2" },
    ]);
  });

  it("counts nothing for a group that takes no instances or not of this template", () => {
    const cluster = clusterOf({ groups, nodes: { a: {}, b: { group: GROUP_B } } });
    expect(capacity(cluster, { templates: ["file"], groups: ["group-a"] })).toMatchObject([
      { count: 0, limitedBy: "the group's policy does not allow template file" },
    ]);
    expect(capacity(cluster, { templates: ["plain"], groups: [GROUP_B] })).toMatchObject([
      { count: 0, limitedBy: "the group is unallocable" },
    ]);
  });

  it("stops at its limit", () => {
    const cluster = clusterOf({ groups, nodes: { a: {} } });
    expect(capacity(cluster, { templates: ["plain"], maxInstances: 3, groups: [GROUP_A] })).toMatchObject([
      { count: 3, limitedBy: "" },
    ]);
  });
});

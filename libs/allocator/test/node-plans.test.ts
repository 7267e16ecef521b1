import { rebootGroups, repairPlan, squeezePlan } from "@gannet/allocator";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { anyCluster, clusterOf, GROUP_A } from "./clusters.ts";

const GIB = 1_024;

describe("rebootGroups", () => {
  it("has each node that is on once, and never both nodes of a mirrored instance together", () => {
    fc.assert(
      fc.property(anyCluster, fc.constantFrom("live" as const, "offline" as const), (cluster, guests) => {
        const groups = rebootGroups(cluster, { guests });
        const on = Object.entries(cluster.nodes).flatMap(([name, { offline }]) => (offline ? [] : [name]));
        expect(groups.flatMap(({ nodes }) => nodes).toSorted()).toEqual(on.toSorted());
        for (const { nodes } of groups) {
          const refuges = new Map<string, string>();
          for (const instance of Object.values(cluster.instances)) {
            const [primary = "", secondary] = instance.nodes;
            if (instance.disk_template !== "drbd" || secondary === undefined) continue;
            expect(nodes.includes(primary) && nodes.includes(secondary)).toBe(false);
            if (guests === "offline" || !nodes.includes(primary)) continue;
            expect(refuges.get(secondary) ?? primary).toBe(primary);
            refuges.set(secondary, primary);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  const nodes = { n1: {}, n2: {}, n3: {}, n4: { tags: ["rack:2"] } };
  const instances = {
    i1: { nodes: ["n1", "n2"] },
    i2: { nodes: ["n3", "n2"] },
    p: { nodes: ["n4"], disk_template: "plain" },
  };

  it("lets two nodes send their guests to one only when the guests are down", () => {
    const members = (guests: "live" | "offline") =>
      rebootGroups(clusterOf({ nodes, instances }), { guests }).map((group) => group.nodes);
    expect(members("offline")).toContainEqual(expect.arrayContaining(["n1", "n3"]));
    expect(members("live")).not.toContainEqual(expect.arrayContaining(["n1", "n3"]));
  });

  it("names those that stand still, and has the master last", () => {
    const groups = rebootGroups(clusterOf({ nodes, instances }), { master: "n4" });
    expect(groups.at(-1)).toMatchObject({ nodes: expect.arrayContaining(["n4"]), stopped: ["p"] });
  });

  it("takes only nodes with the tags that are asked for", () => {
    expect(rebootGroups(clusterOf({ nodes, instances }), { nodeTags: ["rack:2"] })).toEqual([
      { nodes: ["n4"], stopped: ["p"] },
    ]);
  });
});

describe("squeezePlan", () => {
  const standby = { tags: ["htools:standby:rack1"] };
  const shared = (node: string) => ({ nodes: [node], disk_template: "sharedfile", memory: GIB });

  it("switches off what can be emptied, and leaves the others room", () => {
    const cluster = clusterOf({
      nodes: { n1: {}, n2: standby, n3: standby },
      instances: { a: shared("n2"), b: shared("n3"), c: shared("n3") },
    });
    const { switchOff, switchOn } = squeezePlan(cluster);
    expect(switchOn).toBeUndefined();
    expect(switchOff.map(({ node }) => node)).toEqual(["n2", "n3"]);
    expect(switchOff[0]?.moves.map(({ instance }) => instance)).toEqual(["a"]);
    for (const { moves, node } of switchOff) for (const { to } of moves) expect(to).not.toContain(node);
    expect(switchOff[1]?.moves.map(({ to }) => to)).toEqual(switchOff[1]?.moves.map(() => ["n1"]));
  });

  it("keeps a node on that has the only copy of something, or that the others need", () => {
    const plain = { p: { nodes: ["n2"], disk_template: "plain" } };
    expect(squeezePlan(clusterOf({ nodes: { n1: {}, n2: standby }, instances: plain })).switchOff).toEqual([]);
    const empty = clusterOf({ nodes: { n1: {}, n2: standby } });
    expect(squeezePlan(empty).switchOff.map(({ node }) => node)).toEqual(["n2"]);
    expect(squeezePlan(empty, { target: 1_000 }).switchOff).toEqual([]);
  });

  it("switches one on when a node has too little left", () => {
    const cluster = clusterOf({
      nodes: { n1: {}, n2: { ...standby, offline: true }, n3: { ...standby, offline: true } },
    });
    expect(squeezePlan(cluster, { minimal: 1_000 })).toEqual({ switchOff: [], switchOn: "n2" });
    expect(squeezePlan(cluster).switchOn).toBeUndefined();
  });

  it("leaves every instance on nodes that stay on, whatever the cluster", () => {
    fc.assert(
      fc.property(anyCluster, (any) => {
        const nodes = Object.entries(any.nodes).map(([name, node]) => [name, { ...node, ...standby }] as const);
        const cluster = { ...any, nodes: Object.fromEntries(nodes) };
        const { switchOff } = squeezePlan(cluster, { target: 0, minimal: 0 });
        const places = new Map(Object.entries(cluster.instances).map(([name, instance]) => [name, instance.nodes]));
        for (const { moves } of switchOff) for (const { instance, to } of moves) places.set(instance, to);
        const off = new Set(switchOff.map(({ node }) => node));
        for (const on of places.values()) expect(on.filter((node) => off.has(node))).toEqual([]);
      }),
      { numRuns: 100 },
    );
  });
});

describe("repairPlan", () => {
  const TAG = "ganeti:watcher:autorepair:";
  const plan = (tags: readonly string[], row: { nodes: readonly string[]; disk_template?: string }, more = {}) =>
    repairPlan(
      clusterOf({
        nodes: { on: {}, other: {}, off: { offline: true }, drained: { drained: true } },
        instances: { i: { ...row, tags } },
        ...more,
      }),
      { iallocator: "hail", now: 1_000 },
    ).map(({ type, job }) => [type, job?.map(({ OP_ID }) => OP_ID)]);

  it.each([
    [["on", "off"], "drbd", "fix-storage", ["OP_INSTANCE_REPLACE_DISKS"]],
    [["drained", "on"], "drbd", "migrate", ["OP_INSTANCE_MIGRATE"]],
    [["off", "on"], "drbd", "failover", ["OP_INSTANCE_FAILOVER", "OP_INSTANCE_REPLACE_DISKS"]],
    [["off"], "sharedfile", "failover", ["OP_INSTANCE_FAILOVER"]],
    [["off"], "plain", "reinstall", ["OP_INSTANCE_RECREATE_DISKS", "OP_INSTANCE_REINSTALL", "OP_INSTANCE_STARTUP"]],
  ])("an instance on %j with template %s needs %s", (nodes, template, type, job) => {
    expect(plan([`${TAG}reinstall`], { nodes, disk_template: template })).toEqual([[type, job]]);
    expect(plan([], { nodes, disk_template: template })).toEqual([[type, undefined]]);
  });

  it("nothing is needed where the nodes are well, or the instance is not to run", () => {
    expect(plan([`${TAG}reinstall`], { nodes: ["on", "other"] })).toEqual([]);
    expect(plan([`${TAG}reinstall`], { nodes: ["drained"], disk_template: "plain" })).toEqual([]);
    expect(plan([`${TAG}reinstall`], { nodes: ["off", "on"], ...{ admin_state: "down" } })).toEqual([]);
  });

  it("the instance's tags come before its group's, and those before the cluster's; the mildest counts", () => {
    const lost = { nodes: ["off", "on"] };
    const isAllowed = (tags: readonly string[], more = {}) => plan(tags, lost, more)[0]?.[1] !== undefined;
    const groups = (tag: string) => ({ groups: { [GROUP_A]: { tags: [`${TAG}${tag}`] } } });
    expect(isAllowed([], { tags: [`${TAG}failover`] })).toBe(true);
    expect(isAllowed([], { tags: [`${TAG}failover`], ...groups("migrate") })).toBe(false);
    expect(isAllowed([`${TAG}failover`], groups("migrate"))).toBe(true);
    expect(isAllowed([`${TAG}reinstall`, `${TAG}fix-storage`])).toBe(false);
  });

  it("waits while it is suspended", () => {
    const lost = { nodes: ["off", "on"] };
    const isAllowed = (tag: string) => plan([`${TAG}failover`, `${TAG}${tag}`], lost)[0]?.[1] !== undefined;
    expect(isAllowed("suspend")).toBe(false);
    expect(isAllowed("suspend:1001")).toBe(false);
    expect(isAllowed("suspend:999")).toBe(true);
  });
});

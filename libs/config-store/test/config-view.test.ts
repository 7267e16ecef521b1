/** The picture in memory: its lookups by example, and that changing it leads where building it anew would. */
import type { ConfigView, DiskUuid, GroupUuid, Instance, InstanceUuid, Node, NodeUuid } from "@gannet/objects";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ConfigChange, type ConfigRows, configViewOf, rowsOf } from "../src/index.ts";
import { cluster, disk, group, instance, manyRows, node, uuidOf } from "./rows.ts";

describe("lookups", () => {
  const view = configViewOf({
    cluster,
    groups: [group],
    nodes: [node("n1.test"), node("n2.test")],
    instances: [
      instance("web1.prod.test"),
      instance("web2.prod.test"),
      instance("web2.dev.test"),
      instance("db", { primaryNode: uuidOf("n2.test") }),
      instance("db.test"),
    ],
  });

  test.each<[string, string | undefined]>([
    ["web1.prod.test", "web1.prod.test"],
    ["WEB1.Prod.Test", "web1.prod.test"],
    ["web1", "web1.prod.test"],
    ["web1.prod", "web1.prod.test"],
    ["web1.pro", undefined],
    ["web", undefined],
    ["web2", undefined],
    ["web2.dev", "web2.dev.test"],
    ["db", "db"],
    ["", undefined],
    ["__proto__", undefined],
    [uuidOf<InstanceUuid>("web1.prod.test"), "web1.prod.test"],
    [uuidOf<NodeUuid>("n1.test"), undefined],
  ])("instance %s is %s", (wanted, name) => {
    expect(view.findInstance(wanted)?.name).toBe(name);
  });

  test("nodes by short name, groups by their whole name only", () => {
    expect(view.findNode("n2")?.name).toBe("n2.test");
    expect(view.findGroup("default")?.uuid).toBe(group.uuid);
    expect(view.findGroup(group.uuid)?.name).toBe("default");
    expect(view.findGroup("Default")).toBeUndefined();
    expect(view.findNetwork("none")).toBeUndefined();
  });

  test("lists of a node and a group are sorted by name", () => {
    const names = (rows: readonly (Instance | Node)[]) => rows.map(({ name }) => name);
    expect(names(view.primaryInstances(uuidOf("n1.test")))).toEqual([
      "db.test",
      "web1.prod.test",
      "web2.dev.test",
      "web2.prod.test",
    ]);
    expect(names(view.primaryInstances(uuidOf("n2.test")))).toEqual(["db"]);
    expect(names(view.nodesOf(group.uuid))).toEqual(["n1.test", "n2.test"]);
    expect(view.primaryInstances(uuidOf("nowhere"))).toEqual([]);
  });

  test("secondary nodes follow the disks, in their order, without the primary and each once", () => {
    const disks = [disk("d1", ["n1.test", "n3.test"]), disk("d2", ["n1.test", "n2.test"]), disk("d3", ["n3.test"])];
    const row = instance("a.test", { disks: disks.map(({ uuid }) => uuid) });
    const one = configViewOf({ cluster, instances: [row], disks });
    expect(one.secondaryNodes(row)).toEqual([uuidOf("n3.test"), uuidOf("n2.test")]);
    expect(one.disksOf(row)).toEqual(disks);
    expect(one.secondaryInstances(uuidOf("n2.test"))).toEqual([row]);
    expect(one.secondaryInstances(uuidOf("n1.test"))).toEqual([]);
  });
});

describe("versions", () => {
  const NODES = ["n1.test", "n2.test", "n3.test"];
  const GROUPS = ["g1", "g2"];
  /** Each with the names that it may have, some short ones common to several, and the disks. */
  const INSTANCES: readonly { id: string; names: readonly string[]; disks: readonly string[] }[] = [
    { id: "i1", names: ["a.test", "b.prod.test"], disks: ["d1", "d2"] },
    { id: "i2", names: ["a.other", "b.test"], disks: ["d3"] },
    { id: "i3", names: ["a", "c"], disks: ["d4"] },
  ];
  const DISKS = INSTANCES.flatMap(({ disks }) => disks);

  const instancePut = fc.constantFrom(...INSTANCES).chain(({ id, names, disks }) =>
    fc.record({
      uuid: fc.constant(uuidOf<InstanceUuid>(id)),
      name: fc.constantFrom(...names),
      primaryNode: fc.constantFrom(...NODES).map((each) => uuidOf<NodeUuid>(each)),
      disks: fc.shuffledSubarray(disks.map((each) => uuidOf<DiskUuid>(each))),
    }),
  );
  const diskPut = fc.tuple(fc.constantFrom(...DISKS), fc.subarray(NODES, { minLength: 1 }));
  const nodePut = fc.tuple(fc.constantFrom(...NODES), fc.constantFrom(...GROUPS));
  const groupRow = fc.constantFrom(...GROUPS).map((each) => ({ ...group, uuid: uuidOf<GroupUuid>(each), name: each }));
  const change: fc.Arbitrary<ConfigChange> = fc.oneof(
    instancePut.map((more): ConfigChange => ({ kind: "instance", put: instance(more.name, more) })),
    instancePut.map((more): ConfigChange => ({ kind: "instance", remove: instance(more.name, more) })),
    diskPut.map(([each, nodes]): ConfigChange => ({ kind: "disk", put: disk(each, nodes) })),
    diskPut.map(([each]): ConfigChange => ({ kind: "disk", remove: disk(each, []) })),
    nodePut.map(([each, g]): ConfigChange => ({ kind: "node", put: node(each, { group: uuidOf(g) }) })),
    nodePut.map(([each]): ConfigChange => ({ kind: "node", remove: node(each) })),
    groupRow.map((put): ConfigChange => ({ kind: "nodegroup", put })),
    groupRow.map((remove): ConfigChange => ({ kind: "nodegroup", remove })),
  );
  const commit = fc.uniqueArray(change, {
    maxLength: 5,
    selector: (each) => ("put" in each ? each.put : each.remove).uuid,
  });

  test("changing a picture leads to the one that its rows make, and leaves the old one as it was", () => {
    fc.assert(
      fc.property(fc.array(commit, { maxLength: 12, size: "max" }), (commits) => {
        const first = configViewOf({ cluster });
        let view = first;
        const pictures: [ConfigView, unknown][] = [[first, pictureOf(first)]];
        for (const changes of commits) {
          const next = view.with(changes, view.serial + 1);
          expect(pictureOf(next)).toEqual(pictureOf(configViewOf(rowsOf(next), next.serial)));
          view = next;
          pictures.push([view, pictureOf(view)]);
        }
        for (const [older, picture] of pictures) expect(pictureOf(older)).toEqual(picture);
      }),
      { numRuns: 300 },
    );
  });

  function pictureOf(view: ConfigView) {
    const nodes = NODES.map((each) => uuidOf<NodeUuid>(each));
    const lookups = [...INSTANCES.flatMap(({ names }) => names), ...NODES, ...GROUPS, "b", "b.prod", "n1"];
    return {
      rows: rowsOf(view),
      sizes: [view.instances.size, view.nodes.size, view.groups.size, view.disks.size],
      primary: nodes.map((each) => view.primaryInstances(each)),
      secondary: nodes.map((each) => view.secondaryInstances(each)),
      ofGroup: GROUPS.map((each) => view.nodesOf(uuidOf(each))),
      found: lookups.map((each) => [view.findInstance(each), view.findNode(each), view.findGroup(each)]),
    };
  }
});

test("changing one of 10,000 instances costs less than copying one table of them", () => {
  let view = configViewOf(manyRows(10_000) satisfies ConfigRows);
  const first = view;
  const uuids = [...view.instances.keys()];
  const plain = new Map(view.instances);
  const touch = (index: number) => {
    const row = view.instances.get(uuids[index * 7] as InstanceUuid) as Instance;
    view = view.with([{ kind: "instance", put: { ...row, serialNo: row.serialNo + 1 } }], view.serial + 1);
  };
  // In turns, so that a busy machine slows both.
  const spentMs = { changing: 0, copying: 0 };
  for (let index = 0; index < 100; index++) {
    const begin = performance.now();
    touch(index);
    const middle = performance.now();
    expect(new Map(plain).size).toBe(10_000);
    spentMs.changing += middle - begin;
    spentMs.copying += performance.now() - middle;
  }
  expect(spentMs.changing).toBeLessThan(spentMs.copying);
  expect(first.instances.get(uuids[0] as InstanceUuid)?.serialNo).toBe(0);
  expect(view.instances.get(uuids[0] as InstanceUuid)?.serialNo).toBe(1);
});

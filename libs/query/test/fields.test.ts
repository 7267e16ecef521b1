import { readFileSync } from "node:fs";
import type { Disk, DiskUuid, NetworkUuid } from "@gannet/objects";
import type { ResourceName } from "@gannet/query";
import { queryFields, RESOURCES, runQuery } from "@gannet/query";
import { describe, expect, it } from "vitest";
import {
  FACTS,
  GROUP,
  liveOf,
  NODES,
  running,
  sourceOf,
  testCluster,
  testGroup,
  testInstance,
  testNic,
  testNode,
  uuid,
  viewOf,
} from "./view.ts";

type SpecField = [
  resource: ResourceName,
  name: string,
  title: string,
  kind: string,
  live: 0 | 1,
  match?: "host" | "ts",
];
const fixture = (name: string) => readFileSync(new URL(`./fixtures/${name}`, import.meta.url), "utf8");
const SPEC = fixture("query-fields.jsonl")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as SpecField);
const LISTS = JSON.parse(fixture("query-lists.json")) as {
  indexed: [name: string, title: string, kind: string, live: 0 | 1][];
  aliases: Record<string, string>;
};
const RECORDED_NAMES = JSON.parse(
  fixture("recorded.jsonl")
    .split("\n")
    .find((line) => line.includes("instanceFieldNames")) ?? "",
).reply as string[];

/** Fields that Ganeti does not have. */
const EXTENSIONS: Partial<Record<ResourceName, readonly string[]>> = { lock: ["pending_since"] };

/** Fields of hypervisor parameters that Ganeti does not have. */
const OWN_PARAMETERS: readonly string[] = ["hv/guest_type", "hv/secure_boot", "hv/tsc_mode", "hv/uefi", "hv/vtpm"];

const MATCH = { host: "host", ts: "timestamp" } as const;

describe("field tables", () => {
  it.each(SPEC)("%s has %s as Ganeti has it", (resource, name, title, kind, live, match) => {
    const field = RESOURCES[resource].fields.get(name);
    expect(field).toMatchObject({ name, title, kind });
    expect(field?.needsLive).toBe(live === 1);
    expect(field?.match).toBe(match && MATCH[match]);
  });

  it("have nothing else, but each disk, each NIC, the older names and our own", () => {
    for (const resource of Object.keys(RESOURCES) as ResourceName[]) {
      const known = new Set(SPEC.filter(([of]) => of === resource).map(([, name]) => name));
      const more = [...RESOURCES[resource].fields.keys()].filter((name) => !known.has(name));
      if (resource !== "instance") expect(more, resource).toEqual(EXTENSIONS[resource] ?? []);
      else expect(more).toHaveLength(4 * 16 + 10 * 8 + Object.keys(LISTS.aliases).length + OWN_PARAMETERS.length);
    }
  });

  it("have the fields of each disk and NIC", () => {
    for (const [name, title, kind] of LISTS.indexed) {
      const last = name.startsWith("disk") ? 15 : 7;
      for (const index of [0, last])
        expect(RESOURCES.instance.fields.get(name.replace("%d", String(index)))).toMatchObject({
          title: title.replace("%d", String(index)),
          kind,
        });
      expect(RESOURCES.instance.fields.has(name.replace("%d", String(last + 1)))).toBe(false);
    }
  });

  it("know older names", () => {
    for (const [alias, target] of Object.entries(LISTS.aliases)) {
      const { title, kind, cell } = RESOURCES.instance.fields.get(target) ?? {};
      expect(RESOURCES.instance.fields.get(alias)).toMatchObject({ name: alias, title, kind, cell });
    }
  });

  it("describe themselves as field lists must", () => {
    for (const { fields } of Object.values(RESOURCES))
      for (const { name, title, doc } of fields.values()) {
        expect(name).toMatch(/^[a-z0-9/._]+$/);
        expect(title).toMatch(/^\S+$/);
        expect(doc).toMatch(/^[^\n]*[^.\n]$/);
      }
  });
});

describe("queryFields", () => {
  it("lists all in order, with numbers as numbers", () => {
    const names = queryFields("instance", null).map(({ name }) => name);
    expect(names.filter((name) => !OWN_PARAMETERS.includes(name))).toEqual(RECORDED_NAMES);
    expect(names).toEqual(expect.arrayContaining([...OWN_PARAMETERS]));
  });

  it("says which are not known", () => {
    expect(queryFields("node", ["name", "bogus", "role"])).toMatchObject([
      { name: "name", title: "Node", kind: "text" },
      { name: "bogus", title: "bogus", kind: "unknown" },
      { name: "role", title: "Role", kind: "text" },
    ]);
  });
});

describe("values", () => {
  const drbd = {
    ctime: 1,
    mtime: 1,
    serialNo: 1,
    name: "data",
    template: "drbd",
    ivName: "disk/0",
    mode: "rw",
    spindles: 2,
    params: {},
    children: [] as Disk["children"],
  } as const;
  const disks = [0, 1].map((index) => ({
    ...drbd,
    uuid: uuid<DiskUuid>(200 + index),
    sizeMib: 1024 * (index + 1),
    nodes: [NODES[0], NODES[1]],
    logicalId: [NODES[0], NODES[1], 11_000, 0, 0, "secret"],
  }));
  const network = {
    ctime: 1,
    mtime: 1,
    serialNo: 1,
    uuid: uuid<NetworkUuid>(300),
    name: "net1",
    macPrefix: null,
    network: "198.51.100.0/30",
    network6: null,
    gateway: null,
    gateway6: null,
    reservations: "0100",
    extReservations: "1001",
    tags: [],
  };
  const instance = testInstance("web1.test", {
    hypervisor: "kvm",
    hvparams: { vga: "std" },
    beparams: { vcpus: 2 },
    networkPort: 11_003,
    disks: disks.map((disk) => disk.uuid),
    nics: [
      testNic({ ip: "198.51.100.1", network: network.uuid, name: "lan" }),
      testNic({ nicparams: { mode: "openvswitch", link: "switch1", vlan: ".5" } }),
      testNic({ nicparams: { mode: "routed", link: "" }, ip: "203.0.113.4" }),
    ],
  });
  const view = viewOf({
    cluster: testCluster(),
    nodes: [testNode(1), testNode(2)],
    groups: [testGroup({ networks: { [network.uuid]: { mode: "bridged", link: "br7" } } })],
    networks: [network],
    instances: [instance],
    disks,
  });
  const live = liveOf(
    { [NODES[0]]: {}, [NODES[1]]: {} },
    { "web1.test": running(NODES[0], { memoryMib: 200, vcpus: 2 }) },
  );
  const source = sourceOf(view, live);
  const row = (what: ResourceName, fields: readonly string[]) => {
    const [cells = []] = runQuery({ what, fields, filter: null }, source).data;
    return Object.fromEntries(fields.map((field, index) => [field, cells[index]]));
  };

  it("of an instance come from its disks, NICs, networks and nodes", () => {
    expect(
      row("instance", [
        "disk_template",
        "disk_usage",
        "disk.sizes",
        "disk.spindles/1",
        "disk.size/1",
        "disk.size/2",
        "sda_size",
        "nic.links",
        "nic.bridges",
        "nic.vlans",
        "nic.networks.names",
        "nic.network.name/0",
        "nic.network.name/1",
        "nic.ip/1",
        "nic.mode/2",
        "nic.count",
        "snodes",
        "snodes.group",
        "pnode.group",
        "pnode.group.uuid",
        "be/vcpus",
        "vcpus",
        "be/memory",
        "hv/vga",
        "hv/acpi",
        "hv/init_script",
        "network_port",
        "admin_up",
      ]),
    ).toEqual({
      disk_template: [0, "drbd"],
      disk_usage: [0, 1024 + 2048 + 2 * 128],
      "disk.sizes": [0, [1024, 2048]],
      "disk.spindles/1": [0, 2],
      "disk.size/1": [0, 2048],
      "disk.size/2": [3, null],
      sda_size: [0, 1024],
      "nic.links": [0, ["br7", "switch1", ""]],
      "nic.bridges": [0, ["br7", null, null]],
      "nic.vlans": [0, [null, ".5", null]],
      "nic.networks.names": [0, ["net1", null, null]],
      "nic.network.name/0": [0, "net1"],
      "nic.network.name/1": [3, null],
      "nic.ip/1": [3, null],
      "nic.mode/2": [0, "routed"],
      "nic.count": [0, 3],
      snodes: [0, ["node2.test"]],
      "snodes.group": [0, ["default"]],
      "pnode.group": [0, "default"],
      "pnode.group.uuid": [0, GROUP],
      "be/vcpus": [0, 2],
      vcpus: [0, 2],
      "be/memory": [0, 128],
      "hv/vga": [0, "std"],
      "hv/acpi": [0, true],
      "hv/init_script": [3, null],
      network_port: [0, 11_003],
      admin_up: [0, true],
    });
  });

  it("of a running instance say what it has now, and how to reach it", () => {
    expect(row("instance", ["oper_state", "oper_ram", "oper_vcpus", "status", "console"])).toEqual({
      oper_state: [0, true],
      oper_ram: [0, 200],
      oper_vcpus: [0, 2],
      status: [0, "running"],
      console: [0, { instance: "web1.test", kind: "msg", message: "No console" }],
    });
  });

  it("of a network count its addresses and name its users", () => {
    expect(
      row("network", ["map", "free_count", "group_list", "group_cnt", "inst_list", "inst_cnt", "gateway"]),
    ).toEqual({
      map: [0, "XX.X"],
      free_count: [0, 1],
      group_list: [0, [["default", "bridged", "br7", "-"]]],
      group_cnt: [0, 1],
      inst_list: [0, ["web1.test"]],
      inst_cnt: [0, 1],
      gateway: [3, null],
    });
  });

  it("of a node take the storage of the first enabled template that has any", () => {
    const storage = [
      { type: "lvm-pv", name: "another", totalMib: 9, freeMib: 9 },
      { type: "lvm-pv", name: "xenvg", totalMib: 4, freeMib: 1 },
      { type: "lvm-vg", name: "another", totalMib: 500, freeMib: 5 },
      { type: "lvm-vg", name: "xenvg", totalMib: 1000, freeMib: 10 },
      { type: "file", name: "/srv", totalMib: 2000, freeMib: 20 },
    ] as const;
    const fields = ["dtotal", "dfree", "sptotal", "spfree"];
    const answer = (templates: ("file" | "plain" | "rbd")[], exclusive = true) => {
      const ndparams = { ...view.cluster.ndparams, exclusive_storage: exclusive };
      const cluster = { ...view.cluster, ndparams, enabledDiskTemplates: templates, volumeGroupName: "xenvg" };
      const other = sourceOf(viewOf({ cluster, nodes: [testNode(1)] }), liveOf({ [NODES[0]]: { storage } }));
      return runQuery({ what: "node", fields, filter: null }, other).data[0]?.map(([, value]) => value);
    };
    expect(answer(["file"])).toEqual([2000, 20, 4, 1]);
    expect(answer(["rbd", "plain", "file"])).toEqual([1000, 10, 4, 1]);
    expect(answer(["rbd"])).toEqual([500, 5, 4, 1]);
    // Spindles are counted only where disks have their own.
    expect(answer(["file"], false)).toEqual([2000, 20, null, null]);
  });

  it("of nodes say why they are missing", () => {
    const nodes = [
      testNode(1),
      testNode(2, { offline: true }),
      testNode(3, { vmCapable: false }),
      testNode(4, { ndparams: { oob_program: "/bin/oob" } }),
    ];
    const other = sourceOf(
      viewOf({ cluster: view.cluster, nodes, groups: [testGroup()] }),
      liveOf({ [NODES[0]]: {}, [NODES[1]]: {} }),
    );
    const { data } = runQuery({ what: "node", fields: ["mtotal", "role", "powered", "hv_state"], filter: null }, other);
    expect(data).toEqual([
      [
        [0, 24_105],
        [0, "M"],
        [3, null],
        [3, null],
      ],
      [
        [4, null],
        [0, "C"],
        [3, null],
        [3, null],
      ],
      [
        [3, null],
        [0, "C"],
        [3, null],
        [3, null],
      ],
      [
        [2, null],
        [0, "C"],
        [0, true],
        [3, null],
      ],
    ]);
  });

  it("of the cluster, exports and groups are there", () => {
    expect(row("cluster", ["name", "master_node", "volume_group_name", "watcher_pause", "software_version"])).toEqual({
      name: [0, "cluster.test"],
      master_node: [0, "node1.test"],
      volume_group_name: [3, null],
      watcher_pause: [3, null],
      software_version: [0, FACTS.softwareVersion],
    });
    expect(row("group", ["node_list", "pinst_list", "ndp/ssh_port"])).toEqual({
      node_list: [0, ["node1.test", "node2.test"]],
      pinst_list: [0, ["web1.test"]],
      "ndp/ssh_port": [0, 22],
    });
    const nodes = [testNode(1), testNode(2), testNode(3, { offline: true }), testNode(4)];
    const exporting = liveOf({ [NODES[0]]: { exports: ["a.test", "b.test"] }, [NODES[1]]: { exports: [] } });
    const answer = runQuery(
      { what: "export", fields: ["node", "export"], filter: null },
      sourceOf(viewOf({ cluster: view.cluster, nodes }), exporting),
    );
    expect(answer.data).toEqual([
      [
        [0, "node1.test"],
        [0, "a.test"],
      ],
      [
        [0, "node1.test"],
        [0, "b.test"],
      ],
      [
        [0, "node3.test"],
        [4, null],
      ],
      [
        [0, "node4.test"],
        [2, null],
      ],
    ]);
  });

  it("of locks are job ids as text", () => {
    const locks = [
      { name: "node/n10", mode: "shared", owners: [3, 4], pending: [{ owner: 7, mode: "exclusive", sinceMs: 1_234 }] },
      { name: "node/n2", mode: null, owners: [], pending: [] },
    ] as const;
    const { data } = runQuery(
      { what: "lock", fields: ["name", "mode", "owner", "pending", "pending_since"], filter: null },
      sourceOf(view, live, { locks }),
    );
    expect(data).toEqual([
      [
        [0, "node/n2"],
        [0, null],
        [0, []],
        [0, []],
        [0, []],
      ],
      [
        [0, "node/n10"],
        [0, "shared"],
        [0, ["3", "4"]],
        [0, [["exclusive", ["7"]]]],
        [0, [1.234]],
      ],
    ]);
  });
});

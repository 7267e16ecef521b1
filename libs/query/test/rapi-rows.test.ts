import { readFileSync } from "node:fs";
import type {
  DiskUuid,
  GroupUuid,
  Instance,
  InstanceUuid,
  Network,
  NetworkUuid,
  Node,
  NodeUuid,
} from "@gannet/objects";
import {
  clusterInfo,
  extStorageRows,
  FILTER_ROW_FIELDS,
  filterRow,
  GROUP_ROW_FIELDS,
  groupRow,
  INSTANCE_ROW_FIELDS,
  instanceInfo,
  instanceRow,
  JOB_DETAIL_FIELDS,
  JOB_ROW_FIELDS,
  jobDetail,
  type LiveOs,
  listedOs,
  NETWORK_ROW_FIELDS,
  NODE_ROW_FIELDS,
  networkRow,
  nodeDetail,
  nodeRow,
  OS_ROW_FIELDS,
  osNames,
  osRow,
  osRows,
} from "@gannet/query";
import { describe, expect, it } from "vitest";
import { FACTS, liveOf, NODES, running, testCluster, testGroup, testInstance, testNode, uuid, viewOf } from "./view.ts";

type Json = Record<string, unknown>;
const lines = readFileSync(new URL("./fixtures/recorded.jsonl", import.meta.url), "utf8")
  .trim()
  .split("\n");
const RECORDED = Object.fromEntries(
  lines.map((line) => {
    const { name, reply } = JSON.parse(line) as { name: string; reply: Json & Json[] };
    return [name, reply];
  }),
);
const recorded = (name: string): Json & Json[] => {
  const reply = RECORDED[name];
  if (reply === undefined) throw new Error(`nothing recorded as ${name}`);
  return reply;
};
const LISTS = JSON.parse(readFileSync(new URL("./fixtures/query-lists.json", import.meta.url), "utf8")) as {
  rapi: Record<string, string[]>;
};

/** The recorded cluster as our rows. */
const info = recorded("info");
const groupUuid = recorded("group").uuid as GroupUuid;
const nodes: Node[] = recorded("nodes").map((row) => ({
  ...testNode(1),
  uuid: row.uuid as NodeUuid,
  name: String(row.name),
  primaryIp: String(row.pip),
  secondaryIp: String(row.sip),
  group: groupUuid,
  ctime: Number(row.ctime),
  mtime: Number(row.mtime),
  serialNo: Number(row.serial_no),
}));
const nodeNamed = (name: unknown): Node => {
  const node = nodes.find((one) => one.name === name);
  if (node === undefined) throw new Error(`no node ${name}`);
  return node;
};
const cluster = {
  ...testCluster(),
  name: String(info.name),
  uuid: String(info.uuid),
  ctime: Number(info.ctime),
  mtime: Number(info.mtime),
  masterNode: nodeNamed("node1.gnt.test").uuid,
  masterNetdev: "gnt0",
  enabledHypervisors: ["fake" as const],
  enabledDiskTemplates: ["diskless" as const, "file" as const],
  fileStorageDir: String(info.file_storage_dir),
  sharedFileStorageDir: String(info.shared_file_storage_dir),
  glusterStorageDir: String(info.gluster_storage_dir),
  ipolicy: info.ipolicy as never,
  defaultIallocator: "hail",
  drbdUsermodeHelper: "",
};
const DISK = "52903627-58ab-4f23-9a7a-ee7beed4bea7" as DiskUuid;
const network: Network = {
  ctime: 1795294304.2012944,
  mtime: 1795294304.2012944,
  serialNo: 1,
  uuid: "5dd9c470-1e6e-4a54-ab68-c18e1bab7d11" as NetworkUuid,
  name: "net1",
  macPrefix: null,
  network: "192.0.2.0/28",
  network6: null,
  gateway: "192.0.2.1",
  gateway6: null,
  reservations: "0".repeat(16),
  extReservations: "1100000000000001",
  tags: ["lab"],
};
function instanceOf(row: Json): Instance {
  const list = (name: string) => row[name] as (string | null)[];
  return testInstance(String(row.name), {
    uuid: row.uuid as InstanceUuid,
    primaryNode: nodeNamed(row.pnode).uuid,
    adminState: row.admin_state as Instance["adminState"],
    beparams: row.custom_beparams as Instance["beparams"],
    nics: list("nic.macs").map((mac, index) => ({
      uuid: String(list("nic.uuids")[index]),
      name: null,
      mac: String(mac),
      ip: list("nic.ips")[index] ?? null,
      network: (list("nic.networks")[index] ?? null) as NetworkUuid | null,
      nicparams: (row.custom_nicparams as Instance["beparams"][])[index] ?? {},
    })),
    disks: list("disk.uuids") as DiskUuid[],
    diskTemplate: row.disk_template as Instance["diskTemplate"],
    ctime: Number(row.ctime),
    mtime: Number(row.mtime),
    serialNo: Number(row.serial_no),
    tags: row.tags as string[],
  });
}
const rows = [...recorded("instances"), recorded("networkedInstance")];
const instances = rows.map(instanceOf);
const group = {
  ...testGroup(),
  uuid: groupUuid,
  ctime: 0,
  mtime: Number(recorded("group").mtime),
  serialNo: 1,
  networks: { [network.uuid]: { mode: "bridged", link: "xen-br0", vlan: "" } },
};
const view = viewOf({
  cluster,
  nodes,
  groups: [group],
  networks: [network],
  instances,
  disks: [
    {
      ctime: 1,
      mtime: 1,
      serialNo: 1,
      uuid: DISK,
      name: null,
      template: "file",
      logicalId: [
        "loop",
        "/srv/srv/ganeti/file-storage/inst3.gnt.test/f269b18b-aaf5-4468-b242-f7267f4c0665.file.disk0",
      ],
      nodes: [nodeNamed("node1.gnt.test").uuid],
      ivName: "disk/0",
      sizeMib: 16,
      mode: "rw",
      spindles: null,
      params: {},
      children: [],
    },
  ],
});
const live = liveOf(
  Object.fromEntries(
    recorded("nodes").map((row) => [
      row.uuid,
      {
        memoryFreeMib: Number(row.mfree),
        memoryNodeMib: Number(row.mnode),
        storage: [{ type: "file", name: "/srv", totalMib: Number(row.dtotal), freeMib: Number(row.dfree) }],
      },
    ]),
  ),
  Object.fromEntries(
    rows.filter((row) => row.oper_state === true).map((row) => [row.name, running(nodeNamed(row.pnode).uuid)]),
  ),
);

/** What 3.0.2 did not have yet. */
const NEWER = { custom_osparams: {} };

describe("rows of the remote API", () => {
  it.each(rows.map((row, index) => [row.name, row, instances[index]] as const))(
    "show %s as a real Ganeti did",
    (_name, row, instance) => {
      if (instance === undefined) throw new Error("no instance");
      expect(instanceRow(instance, view, live)).toEqual({ ...row, ...NEWER });
    },
  );

  it.each(recorded("nodes").map((row) => [row.name, row] as const))("show %s as a real Ganeti did", (name, row) => {
    const counted = { pinst_cnt: expect.any(Number), pinst_list: expect.any(Array) };
    expect(nodeRow(nodeNamed(name), view, live)).toEqual({ ...row, ...counted });
  });

  it("show an offline node without what it would say", () => {
    const row = recorded("offlineNode");
    const node = {
      ...nodeNamed(row.name),
      offline: true,
      masterCandidate: false,
      serialNo: Number(row.serial_no),
      mtime: Number(row.mtime),
    };
    expect(nodeDetail(node, viewOf({ cluster, nodes: [node], groups: [group] }), live)).toEqual({
      ...row,
      pinst_cnt: 0,
      pinst_list: [],
    });
  });

  it("show groups, networks, filters and jobs as a real Ganeti did", () => {
    const { diskparams, node_list, ...row } = groupRow(group, view);
    const { diskparams: theirs, node_list: theirNodes, ...rest } = recorded("group");
    expect(row).toEqual(rest);
    expect(diskparams).toMatchObject(theirs as object);
    expect(node_list).toEqual([...(theirNodes as string[])].sort());
    expect(networkRow(network, view)).toEqual({ ...recorded("network"), inst_list: ["inst10.gnt.test"] });
    const { reason_trail, ...filter } = recorded("filter");
    expect(filterRow({ ...filter, reasonTrail: reason_trail, ctime: 1, mtime: 1, serialNo: 1 } as never)).toEqual(
      recorded("filter"),
    );
    const job = recorded("jobDetail");
    expect(
      jobDetail({
        id: Number(job.id),
        status: String(job.status),
        archived: false,
        summary: job.summary as string[],
        opcodes: [
          {
            input: withoutQueueReason((job.ops as { OP_ID: string; reason: unknown[] }[])[0]),
            status: "canceled",
            result: null,
            log: [],
            priority: 0,
            startTimestamp: null,
            execTimestamp: null,
            endTimestamp: null,
          },
        ],
        receivedTimestamp: job.received_ts as [number, number],
        startTimestamp: null,
        endTimestamp: job.end_ts as [number, number],
      }),
    ).toEqual(job);
  });

  it("have the fixed keys", () => {
    const fixed = {
      instance: INSTANCE_ROW_FIELDS,
      node: NODE_ROW_FIELDS,
      group: GROUP_ROW_FIELDS,
      network: NETWORK_ROW_FIELDS,
      filter: FILTER_ROW_FIELDS,
      job_bulk: JOB_ROW_FIELDS,
      job_detail: JOB_DETAIL_FIELDS,
      os_bulk: OS_ROW_FIELDS,
    };
    for (const [name, fields] of Object.entries(fixed)) expect([...fields].sort(), name).toEqual(LISTS.rapi[name]);
  });

  it("have a boolean admin_state for clients of 2.5", () => {
    const old = viewOf({ cluster: { ...cluster, rapiDefaults: "2.5" }, nodes, groups: [group], instances });
    const states = instances.map((instance) => instanceRow(instance, old, live).admin_state);
    expect(states).toEqual([true, false, true, false]);
    expect(states).toHaveLength(rows.length);
  });

  it("leave out what only the cluster sets", () => {
    const kvm = testInstance("k.test", { hypervisor: "kvm", hvparams: { vga: "std" }, primaryNode: NODES[0] });
    const { hvparams, custom_hvparams } = instanceRow(kvm, view, live);
    expect(hvparams).toMatchObject({ vga: "std", acpi: true, migration_downtime: 30 });
    expect(hvparams).not.toHaveProperty("migration_port");
    expect(custom_hvparams).toEqual({ vga: "std" });
  });

  it("are made fast enough to make them all again", () => {
    const many = Array.from({ length: 10_000 }, (_, index) => ({
      ...instances[2 - (index % 3)],
      name: `fill${index}.test`,
      uuid: uuid<InstanceUuid>(1000 + index),
      hypervisor: "kvm" as const,
      hvparams: index % 2 ? { vga: "std" } : {},
    })) as Instance[];
    const started = performance.now();
    for (const instance of many) instanceRow(instance, view, live);
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("clusterInfo", () => {
  it("has what a real Ganeti had, in the same shape", () => {
    const { hvparams, diskparams, modify_ssh_setup, ...ours } = clusterInfo(view, FACTS);
    const { hvparams: theirHv, diskparams: theirDisks, modify_ssh_setup: _, ...theirs } = info;
    expect(ours).toEqual(theirs);
    expect(modify_ssh_setup).toBe(false);
    expect(diskparams).toMatchObject(theirDisks as object);
    const ownHv = hvparams as Record<string, Json>;
    for (const [name, theirParams] of Object.entries(theirHv as Record<string, Json>)) {
      expect(Object.keys(ownHv[name] ?? {})).toEqual(expect.arrayContaining(Object.keys(theirParams)));
    }
  });

  it("keeps private OS parameters to itself", () => {
    const secretive = { ...cluster, osparamsPrivate: { noop: { password: "hunter2" } } };
    expect(JSON.stringify(clusterInfo(viewOf({ cluster: secretive, nodes }), FACTS))).not.toContain("hunter2");
  });
});

describe("instanceInfo", () => {
  const [inst1, , inst3] = instances as [Instance, Instance, Instance];

  it("is what a real Ganeti told", () => {
    expect(instanceInfo(inst1, view, { live, disks: { primary: new Map(), secondary: new Map() } })).toEqual(
      recorded("instanceInfo"),
    );
    expect(instanceInfo(inst3, view, null)).toEqual(recorded("instanceInfoStatic"));
  });

  it("tells the run state and each disk's", () => {
    const status = ["/dev/loop0", 7, 0, null, null, false, 1] as const;
    const now = {
      live: liveOf(Object.fromEntries(nodes.map((node) => [node.uuid, {}]))),
      disks: { primary: new Map([[DISK, status]]), secondary: new Map() },
    };
    const told = instanceInfo(inst3, view, now);
    expect(told.run_state).toBe("down");
    expect(told.disks).toMatchObject([{ pstatus: status, sstatus: null }]);
    expect(instanceInfo({ ...inst3, adminState: "offline" }, view, now).run_state).toBe("offline");
  });

  it("shows a DRBD disk without its secret", () => {
    const [first, second] = nodes as [Node, Node];
    const disk = {
      ...(view.disks.get(DISK) as NonNullable<ReturnType<typeof view.disks.get>>),
      template: "drbd" as const,
      nodes: [first.uuid, second.uuid],
      logicalId: [first.uuid, second.uuid, 11_000, 0, 1, "hunter2"],
    };
    const drbdView = viewOf({ cluster, nodes, groups: [group], instances: [inst3], disks: [disk] });
    const told = instanceInfo(inst3, drbdView, null);
    expect(JSON.stringify(told)).not.toContain("hunter2");
    expect(told.disks).toMatchObject([{ drbd_info: { primary_node: first.name, secondary_minor: 1, port: 11_000 } }]);
    expect(told.snodes).toEqual([second.name]);
  });
});

describe("OS definitions", () => {
  const os = (name: string, own: Partial<LiveOs> = {}): LiveOs => ({
    name,
    path: `/usr/share/ganeti/os/${name}`,
    valid: true,
    problem: "",
    variants: [],
    parameters: [],
    apiVersions: [20],
    trusted: true,
    ...own,
  });
  const three = viewOf({
    cluster: { ...testCluster(), hiddenOs: ["secret", "debian+11"], blacklistedOs: ["old"] },
    nodes: [testNode(1), testNode(2), testNode(3, { vmCapable: false }), testNode(4, { offline: true })],
    groups: [testGroup()],
  });
  const debian = (variants: string[], apiVersions: number[]) =>
    os("debian", { variants, apiVersions, parameters: [{ name: "suite", help: "Suite" }] });
  const found = liveOf({
    [NODES[0]]: {
      os: [os("noop"), debian(["12", "11", "10"], [15, 20]), os("one"), os("secret"), os("old"), os("bad")],
    },
    [NODES[1]]: {
      os: [
        os("noop", { trusted: false }),
        debian(["11", "12"], [20]),
        os("secret"),
        os("old"),
        os("bad", { valid: false, problem: "no create script" }),
        os("bad"),
      ],
    },
    [NODES[2]]: { os: [] },
  });
  const all = osRows(three, found);
  const named = (name: string) => all.find((row) => row.name === name);

  it("are valid where every node that can host instances has them", () => {
    expect(all.map(({ name }) => name)).toEqual(["bad", "debian", "noop", "old", "one", "secret"]);
    expect(all.filter(({ valid }) => valid).map(({ name }) => name)).toEqual(["debian", "noop", "old", "secret"]);
    expect(named("noop")).toMatchObject({ trusted: false });
    expect(named("debian")).toMatchObject({ apiVersions: [20], parameters: [["suite", "Suite"]], trusted: true });
    expect(named("bad")?.nodeStatus["node2.test"]?.[0]).toMatchObject([
      "/usr/share/ganeti/os/bad",
      false,
      "no create script",
      [],
      [],
      [20],
    ]);
  });

  it("are named with the variants that all nodes have", () => {
    expect(osNames(all)).toEqual(["debian+12", "noop"]);
    expect(named("debian")?.variants).toEqual(["12"]);
  });

  it("are listed with what is hidden only to those who ask", () => {
    const listed = (fields: string[]) => listedOs(all, fields).map(({ name }) => name);
    expect(listed(["name"])).toEqual(["debian", "noop"]);
    expect(listed(["hidden"])).toEqual(["debian", "noop", "secret"]);
    expect(listed(["blacklisted"])).toEqual(["debian", "noop", "old"]);
    expect(listed(["valid"])).toEqual(["bad", "debian", "noop", "one"]);
  });

  it("have rows for the bulk list", () => {
    const noop = named("noop");
    expect(noop && osRow(noop)).toEqual({
      name: "noop",
      valid: true,
      hidden: false,
      blacklisted: false,
      variants: [],
      api_versions: [20],
      parameters: [],
      trusted: false,
    });
  });
});

describe("external storage providers", () => {
  it("are put together by group", () => {
    const provider = {
      name: "san",
      path: "/p",
      valid: true,
      problem: "",
      parameters: [{ name: "lun", help: "Number" }],
    };
    const view2 = viewOf({ cluster: testCluster(), nodes: [testNode(1), testNode(2)], groups: [testGroup()] });
    const some = liveOf({ [NODES[0]]: { extStorage: [provider] }, [NODES[1]]: { extStorage: [] } });
    expect(extStorageRows(view2, some)).toEqual([
      {
        name: "san",
        nodeStatus: { "node1.test": [["/p", true, "", [["lun", "Number"]]]], "node2.test": [] },
        nodegroupStatus: { default: false },
        parameters: [["lun", "Number"]],
      },
    ]);
  });
});

/** As stored: what the queue adds to the reason trail follows from the job and is not kept. */
function withoutQueueReason(op: { OP_ID: string; reason: unknown[] } | undefined) {
  return op === undefined ? { OP_ID: "" } : { ...op, reason: op.reason.slice(0, -1) };
}

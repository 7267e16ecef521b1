/** What the resources that answer at once say of a cluster, and that they say it anew when it changes. */
import type { ConfigChange } from "@gannet/config-store";
import { HypervisorError, NodeUnreachable } from "@gannet/errors";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { diskRow, guest, instanceRow, NODE1, NODE2, NODE10, nodeState, snapshot, uuidOf } from "./cluster-fixture.ts";
import { FENCE, type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

let bed: RapiTestbed;
beforeEach(async () => {
  bed = await startRapiTestbed();
});
afterEach(() => bed[Symbol.asyncDispose]());

const INST1 = "inst1.gnt.test";
const INST5 = "inst5.gnt.test";
type Row = Readonly<Record<string, unknown>>;

const ask = async <T = unknown>(path: string) => {
  const reply = await bed.get(path);
  expect(reply.status, `${path}: ${reply.text}`).toBe(200);
  return reply.json as T;
};
const commit = (change: (view: ConfigView) => readonly ConfigChange[]) => bed.configStore.commit(change, FENCE);
const instance = (view: ConfigView, name: string) => {
  const found = view.findInstance(name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
};

test("what never changes", async () => {
  expect(await ask("/")).toBe(null);
  expect(await ask("/2")).toBe(null);
  expect(await ask("/version")).toBe(2);
  expect(await ask("/2/features")).toEqual([
    "instance-create-reqv1",
    "instance-reinstall-reqv1",
    "node-evac-res1",
    "node-migrate-reqv1",
  ]);
});

test("the cluster, as it is after each change", async () => {
  expect(await ask("/2/info")).toMatchObject({ name: "cluster.gnt.test", master: NODE1, tags: [], os_api_version: 20 });
  await commit(({ cluster }) => [{ kind: "cluster", put: { ...cluster, tags: ["new"], maxRunningJobs: 7 } }]);
  expect(await ask("/2/info")).toMatchObject({ tags: ["new"], max_running_jobs: 7 });
});

test("OSes: what all nodes can install, with variants, or all with details", async () => {
  expect(await ask("/2/os")).toEqual(["debian+bookworm", "debian+trixie", "noop"]);
  const all = await ask<Row[]>("/2/os?bulk=1");
  expect(all.map(({ name, valid }) => [name, valid])).toEqual([
    ["broken", false],
    ["debian", true],
    ["noop", true],
  ]);
  expect(all[1]).toEqual({
    name: "debian",
    valid: true,
    hidden: false,
    blacklisted: false,
    variants: ["bookworm", "trixie"],
    api_versions: [20],
    parameters: [{ name: "mirror", description: "Where packages come from" }],
    trusted: true,
  });
  bed.live.apply(uuidOf(NODE1), { update: { $case: "os", value: { os: [] } } });
  expect(await ask("/2/os")).toEqual([]);
});

describe("nodes", () => {
  test("in natural order, with what each reports; nothing of one that is offline", async () => {
    expect(await ask("/2/nodes")).toEqual(
      [NODE1, NODE2, NODE10].map((name) => ({ id: name, uri: `/2/nodes/${name}` })),
    );
    const rows = await ask<Row[]>("/2/nodes?bulk=1");
    expect(rows.map(({ name, role, mfree, pinst_cnt }) => [name, role, mfree, pinst_cnt])).toEqual([
      [NODE1, "M", 20_000, 0],
      [NODE2, "C", 20_000, 2],
      [NODE10, "O", null, 0],
    ]);
    expect(rows[1]).not.toHaveProperty("secondary_ip");
    expect(await ask("/2/nodes/node2")).toEqual({ ...rows[1], secondary_ip: "192.0.2.1" });
    expect(await ask(`/2/nodes/${uuidOf(NODE2)}`)).toMatchObject({ name: NODE2, pinst_list: [INST1, INST5] });
  });

  test("their roles", async () => {
    expect(await ask(`/2/nodes/${NODE1}/role`)).toBe("master");
    expect(await ask(`/2/nodes/${NODE2}/role`)).toBe("master-candidate");
    expect(await ask(`/2/nodes/${NODE10}/role`)).toBe("offline");
  });

  test("change with what they report and with their instances", async () => {
    await ask("/2/nodes?bulk=1");
    bed.live.apply(uuidOf(NODE2), { update: { $case: "node", value: nodeState(NODE2, { memoryFreeMib: 5 }) } });
    await commit((view) => [
      { kind: "instance", put: { ...instance(view, INST5), primaryNode: uuidOf<NodeUuid>(NODE1) } },
    ]);
    const rows = await ask<Row[]>("/2/nodes?bulk=1");
    expect(rows.map(({ mfree, pinst_list }) => [mfree, pinst_list])).toEqual([
      [20_000, [INST5]],
      [5, [INST1]],
      [null, []],
    ]);
  });
});

describe("groups and networks", () => {
  test("lists and one", async () => {
    expect(await ask("/2/groups")).toEqual([{ name: "default", uri: "/2/groups/default" }]);
    const [group] = await ask<Row[]>("/2/groups?bulk=1");
    expect(group).toMatchObject({ name: "default", node_cnt: 3, alloc_policy: "preferred" });
    expect(await ask("/2/groups/default")).toEqual(group);
    expect(await ask("/2/networks")).toEqual([]);
    expect(await ask("/2/networks?bulk=1")).toEqual([]);
    expect((await bed.get("/2/networks/nosuch")).status).toBe(404);
  });
});

describe("instances", () => {
  test("lists and one", async () => {
    expect(await ask("/2/instances")).toEqual(
      [INST1, INST5].map((name) => ({ id: name, name, uri: `/2/instances/${name}` })),
    );
    const rows = await ask<Row[]>("/2/instances?bulk=1");
    expect(rows.map(({ name, status, oper_ram, pnode }) => [name, status, oper_ram, pnode])).toEqual([
      [INST1, "running", 128, NODE2],
      [INST5, "ADMIN_down", null, NODE2],
    ]);
    expect(await ask(`/2/instances/${INST1}`)).toEqual(rows[0]);
    expect(await ask("/2/instances/inst5")).toEqual(rows[1]);
    expect(await ask(`/2/instances/${uuidOf(INST5)}`)).toEqual(rows[1]);
  });

  test("one is created, changed, renamed and removed", async () => {
    await ask("/2/instances?bulk=1");
    const disk = diskRow("disk of inst3");
    await commit(() => [
      { kind: "disk", put: disk },
      { kind: "instance", put: instanceRow("inst3.gnt.test", { disks: [disk.uuid], diskTemplate: "file" }) },
    ]);
    expect((await ask<Row[]>("/2/instances")).map(({ id }) => id)).toEqual([INST1, "inst3.gnt.test", INST5]);
    expect(await ask("/2/instances/inst3")).toMatchObject({ "disk.sizes": [128], status: "ERROR_down" });

    await commit((view) => [{ kind: "disk", put: { ...(view.disks.get(disk.uuid) ?? disk), sizeMib: 256 } }]);
    expect((await ask<Row[]>("/2/instances?bulk=1"))[1]).toMatchObject({ "disk.sizes": [256] });

    await commit((view) => [{ kind: "instance", put: { ...instance(view, "inst3"), name: "ant.gnt.test" } }]);
    expect((await ask<Row[]>("/2/instances?bulk=1")).map(({ name }) => name)).toEqual(["ant.gnt.test", INST1, INST5]);
    expect((await bed.get("/2/instances/inst3")).status).toBe(404);

    await commit((view) => [{ kind: "instance", remove: instance(view, "ant.gnt.test") }]);
    expect((await ask<Row[]>("/2/instances?bulk=1")).map(({ name }) => name)).toEqual([INST1, INST5]);
    expect(await ask<Row[]>("/2/instances")).toHaveLength(2);
  });

  test("change with what nodes report, and with their silence", async () => {
    const statuses = async () => (await ask<Row[]>("/2/instances?bulk=1")).map(({ status }) => status);
    expect(await statuses()).toEqual(["running", "ADMIN_down"]);
    bed.live.noteInstance(uuidOf(NODE2), guest(INST5));
    expect(await statuses()).toEqual(["running", "ERROR_up"]);
    bed.live.noteInstanceGone(uuidOf(NODE2), INST1);
    expect(await statuses()).toEqual(["ERROR_down", "ERROR_up"]);
    bed.live.noteInstance(uuidOf(NODE1), guest(INST1));
    expect(await statuses()).toEqual(["ERROR_wrongnode", "ERROR_up"]);
    bed.live.lose(uuidOf(NODE1));
    bed.live.lose(uuidOf(NODE2));
    expect(await statuses()).toEqual(["ERROR_nodedown", "ERROR_nodedown"]);
    bed.live.apply(uuidOf(NODE2), snapshot(NODE2));
    expect(await statuses()).toEqual(["ERROR_down", "ADMIN_down"]);
  });

  test("show what they inherit as soon as it changes", async () => {
    expect(await ask("/2/instances/inst1")).toMatchObject({ beparams: { auto_balance: true } });
    await commit(({ cluster }) => [
      { kind: "cluster", put: { ...cluster, beparams: { ...cluster.beparams, auto_balance: false } } },
    ]);
    expect(await ask("/2/instances/inst1")).toMatchObject({ beparams: { auto_balance: false } });
  });
});

describe("tags", () => {
  test("of each kind of object, in order", async () => {
    expect(await ask("/2/instances/inst1/tags")).toEqual(["blue", "zone:a"]);
    for (const path of ["/2/tags", "/2/nodes/node1/tags", "/2/groups/default/tags"])
      expect(await ask(path)).toEqual([]);
  });

  test.for(["nodes", "groups", "networks", "instances"])("of %s that are not there are not found", async (kind) => {
    expect((await bed.get(`/2/${kind}/nosuch/tags`)).json).toMatchObject({ code: 404, message: "Not Found" });
  });
});

describe("consoles", () => {
  const answer = { kind: "msg", message: "", command: [], port: 0, display: 0 };

  test.for([
    [
      { ...answer, kind: "ssh", command: ["socat", "-", "UNIX-CONNECT:/run/x"] },
      { kind: "ssh", host: NODE2, user: "root", command: ["socat", "-", "UNIX-CONNECT:/run/x"] },
    ],
    [
      { ...answer, kind: "vnc", port: 11_000, display: 5100 },
      { kind: "vnc", host: NODE2, port: 11_000, display: 5100 },
    ],
    [
      { ...answer, kind: "spice", port: 11_000 },
      { kind: "spice", host: NODE2, port: 11_000 },
    ],
    [
      { ...answer, message: "There is none" },
      { kind: "msg", message: "There is none" },
    ],
  ] as const)("$0.kind", async ([given, shown]) => {
    bed.consoleOf = async () => ({ ...given, command: [...given.command] });
    expect(await ask("/2/instances/inst1/console")).toEqual({ instance: INST1, ...shown });
  });

  test.for([
    ["was stopped just now", new HypervisorError("it does not run")],
    ["is on a node that fell silent", new NodeUnreachable(NODE2, "no answer")],
  ] as const)("of an instance that %s is not available", async ([_label, error]) => {
    bed.consoleOf = () => Promise.reject(error);
    expect((await bed.get("/2/instances/inst1/console")).json).toMatchObject({
      code: 503,
      message: "Instance console unavailable",
    });
  });

  test("of a stopped instance is not asked for", async () => {
    bed.consoleOf = vi.fn();
    expect((await bed.get("/2/instances/inst5/console")).status).toBe(503);
    expect(bed.consoleOf).not.toHaveBeenCalled();
  });
});

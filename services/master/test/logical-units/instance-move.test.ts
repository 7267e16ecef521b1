/** OP_INSTANCE_MOVE, and OP_INSTANCE_MULTI_ALLOC for instances that name their nodes. */
import { parseOpcode } from "@gannet/opcodes";
import type { RunHooksRequest, StartImportRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const OTHER = "web2.gnt.test";
const INSTANCE = { instance_name: NAME };
const SECRET = "opensesame";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  for (const node of NODES) await bed.setNode(node, { offline: false });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  expect([...bed.view.disks.values()]).toEqual([]);
  bed.nodes.calls.length = 0;
});

const creation = (name: string, template: string, more: object = {}) => ({
  ...{ instance_name: name, mode: "create", disk_template: template, nics: [{}], os_type: "noop", hypervisor: "fake" },
  ...{ pnode: NODE1, start: false, disks: template === "diskless" ? [] : [{ size: 1024 }, { size: 2048 }] },
  ...(template === "drbd" ? { snode: NODE2 } : {}),
  ...more,
});
const resultOf = async (id: string, params: object = {}) => (await bed.run(id, { ...INSTANCE, ...params })).result;
const refusal = (code: string, text: string | RegExp = "") => ["OpPrereqError", [expect.stringMatching(text), code]];

function locksOf(id: string, params: object): readonly string[] {
  const { op } = parseOpcode({ OP_ID: id, ...params });
  const names = new Map(NODES.map((name) => [bed.uuidOf(name) as string, name.slice(0, 5)]));
  const wishes = LOGICAL_UNITS.get(id)?.locks(op, bed.view) ?? [];
  return wishes.map(({ level, name, mode }) => `${mode} ${level}/${names.get(name) ?? name}`);
}

describe("move", () => {
  const MOVE = "OP_INSTANCE_MOVE";
  const toNode2 = { ...INSTANCE, target_node: NODE2 };
  const volumes = (node: string) => [...bed.nodes.named(node).volumes.values()].map(({ contents }) => contents);

  const hooks = (of: string) =>
    bed.nodes.calls.flatMap(({ node, method, request }) => {
      const { path, phase } = request as Partial<RunHooksRequest>;
      return method === "node.runHooks" && path === of ? [`${phase} ${node}`] : [];
    });

  test.each(["plain", "file"])("takes a running %s instance with its data to the other node", async (template) => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, template, { start: true }));
    expect(locksOf(MOVE, toNode2)).toEqual([
      `exclusive instance/${NAME}`,
      ...["node/node1", "node-res/node1", "node/node2", "node-res/node2"].map((each) => `exclusive ${each}`),
    ]);
    expect((await bed.succeed(MOVE, toNode2)).result).toBeNull();
    expect(hooks("instance-move")).toEqual([`pre ${NODE1}`, `pre ${NODE2}`, `post ${NODE1}`, `post ${NODE2}`]);
    expect(volumes(NODE2)).toEqual(["installed", "installed"]);
    expect(volumes(NODE1)).toEqual([]);
    expect(bed.instance(NAME)).toMatchObject({ primaryNode: bed.uuidOf(NODE2), adminState: "up" });
    expect(bed.disks(NAME).map(({ nodes }) => nodes)).toEqual([[bed.uuidOf(NODE2)], [bed.uuidOf(NODE2)]]);
    expect([bed.nodes.named(NODE1).guests.size, bed.nodes.named(NODE2).guests.size]).toEqual([0, 1]);
  });

  test("sends each disk by keys that both ends make for it, and that are gone afterwards", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain"));
    bed.nodes.calls.length = 0;
    await bed.succeed(MOVE, toNode2);
    const made = bed.nodes.calls.filter(({ method }) => method === "transfers.createCertificate");
    expect(made.map(({ node }) => node)).toEqual([NODE2, NODE1, NODE2, NODE1]);
    const ends = bed.nodes.calls.flatMap(({ method, request }) =>
      /start(Im|Ex)port$/.test(method) ? [(request as Partial<StartImportRequest>).options] : [],
    );
    expect(ends).toHaveLength(4);
    for (const options of ends)
      expect(options).toMatchObject({
        keyName: expect.stringMatching(/^x509-/),
        peerCertificatePem: expect.stringContaining("CERTIFICATE"),
      });
    for (const node of [NODE1, NODE2]) expect([...bed.nodes.named(node).transferKeys]).toEqual([]);
  });

  test("of one that is down leaves it down, with its disks let go of", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain"));
    bed.nodes.calls.length = 0;
    await bed.succeed(MOVE, toNode2);
    expect(bed.nodes.story("instances.start")).toEqual([]);
    expect(bed.nodes.story("shutdown").slice(-2)).toEqual([`${NODE2} shutdown plain/0`, `${NODE2} shutdown plain/1`]);
  });

  test.each([
    ["instances.stop", NODE1],
    ["create", NODE2],
    ["assemble", NODE1],
    ["transfers.startImport", NODE2],
    ["transfers.startExport", NODE1],
    ["transfers.follow", NODE1],
  ])("that fails in %s on %s leaves it running where it was", async (method, node) => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain", { start: true }));
    const [row, disks] = [bed.instance(NAME), bed.disks(NAME)];
    bed.nodes.failures = [{ method, node, times: 1 }];
    expect((await bed.run(MOVE, toNode2)).status).toBe("error");
    expect([bed.instance(NAME), bed.disks(NAME)]).toEqual([row, disks]);
    expect(volumes(NODE2)).toEqual([]);
    expect([...bed.nodes.named(NODE1).guests]).toEqual([NAME]);
  });

  test("is done although the old disks stay behind, which is told", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain"));
    bed.nodes.failures = [{ method: "remove", node: NODE1 }];
    expect((await bed.succeed(MOVE, toNode2)).log.join("\n")).toContain("WARNING: The old disks are left behind");
    expect(bed.instance(NAME).primaryNode).toBe(bed.uuidOf(NODE2));
    bed.nodes.named(NODE1).volumes.clear();
  });

  test("goes on without a guest's end only where that is wanted", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain", { start: true }));
    bed.nodes.failures = [{ method: "instances.stop", node: NODE1, after: true }];
    const { log } = await bed.succeed(MOVE, { ...toNode2, ignore_consistency: true });
    expect(log.join("\n")).toContain("Make sure that it is down");
  });

  test("is refused where it makes no sense or finds no room", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation(NAME, "plain", { start: true }));
    expect(await resultOf(MOVE, { target_node: NODE1 })).toEqual(refusal("wrong_state", "already"));
    expect(await resultOf(MOVE, { target_node: "nosuch" })).toEqual(refusal("unknown_entity"));
    bed.nodes.named(NODE2).memoryFreeMib = 100;
    expect(await resultOf(MOVE, toNode2)).toEqual(refusal("insufficient_resources", "memory"));
    bed.nodes.named(NODE2).memoryFreeMib = undefined;
    bed.nodes.named(NODE2).groups.set("xenvg", 2000);
    expect(await resultOf(MOVE, toNode2)).toEqual(refusal("insufficient_resources", "disk space"));
    bed.nodes.named(NODE2).groups.set("xenvg", 10_000);
    await bed.setNode(NODE2, { offline: true });
    expect(await resultOf(MOVE, toNode2)).toEqual(refusal("wrong_state", "offline"));
    await bed.setNode(NODE2, { offline: false });
    await bed.succeed("OP_INSTANCE_CREATE", creation(OTHER, "drbd"));
    const mirrored = { instance_name: OTHER, target_node: NODES[2] };
    expect(await resultOf(MOVE, mirrored)).toEqual(refusal("wrong_state", "migrate"));
  });
});

describe("multi-alloc", () => {
  const MULTI = "OP_INSTANCE_MULTI_ALLOC";

  test("submits a job for each instance, without a secret in any record", async () => {
    const instances = [
      creation(NAME, "plain", { osparams_secret: { password: SECRET } }),
      creation(OTHER, "drbd", { osparams_secret: { password: `${SECRET}2` } }),
    ];
    expect([...locksOf(MULTI, { instances })].sort()).toEqual([
      ...["node-res/node1", "node-res/node2", "node/node1", "node/node2"].map((each) => `shared ${each}`),
    ]);
    const { result } = await bed.succeed(MULTI, { instances });
    const jobs = [
      [true, expect.any(Number)],
      [true, expect.any(Number)],
    ];
    expect(result).toEqual({ jobs, allocatable: [NAME, OTHER], failed: [] });
    await vi.waitFor(() => expect(bed.nodes.calls.filter(({ method }) => method === "os.create")).toHaveLength(2), {
      timeout: 10_000,
    });
    const passwords = bed.nodes.calls.flatMap(({ method, request }) =>
      method === "os.create" ? (request as { parameters: Record<string, string> }).parameters.password : [],
    );
    expect(passwords.sort()).toEqual([SECRET, `${SECRET}2`]);
    expect(await bed.ledgerText()).not.toContain(SECRET);
  });

  test.each([false, true])(
    "places those that fit where an allocator says (opportunistic: %s)",
    async (opportunistic) => {
      const nowhere = { pnode: null, snode: null };
      const instances = [
        creation(NAME, "drbd", nowhere),
        creation(OTHER, "plain", { ...nowhere, disks: [{ size: 1_000_000 }] }),
      ];
      const request = { instances, iallocator: "hail", opportunistic_locking: opportunistic };
      expect(locksOf(MULTI, request)).toEqual(
        opportunistic ? [] : ["shared node/[lockset]", "shared node-res/[lockset]"],
      );
      const { result, log } = await bed.succeed(MULTI, request);
      expect(result).toEqual({ jobs: [[true, expect.any(Number)]], allocatable: [NAME], failed: [OTHER] });
      expect(log.join("\n")).toContain(OTHER);
      await vi.waitFor(() => expect(bed.instance(NAME).disks).toHaveLength(2), { timeout: 10_000 });
      const [[, id]] = (result as { jobs: [[boolean, number]] }).jobs;
      await bed.ended(id);
      expect(bed.view.secondaryNodes(bed.instance(NAME))).toHaveLength(1);
    },
  );

  test("refuses what cannot be, before any job", async () => {
    const one = creation(NAME, "plain");
    expect((await bed.run(MULTI, { instances: [one, one] })).result).toEqual(
      refusal("wrong_input", `duplicate instance names: ${NAME}`),
    );
    const half = { ...creation(OTHER, "drbd"), snode: null };
    expect((await bed.run(MULTI, { instances: [one, half] })).result).toEqual(refusal("wrong_input", OTHER));
    const opportunistic = { instances: [one], opportunistic_locking: true };
    expect((await bed.run(MULTI, opportunistic)).result).toEqual(refusal("wrong_input", "pportunistic"));
    const unknown = creation(OTHER, "plain", { pnode: "nosuch" });
    expect((await bed.run(MULTI, { instances: [one, unknown] })).result).toEqual(refusal("unknown_entity"));
    const own = { ...one, iallocator: "hail" };
    expect((await bed.run(MULTI, { instances: [own] })).result).toEqual(refusal("wrong_input", "iallocator"));
    const both = { instances: [one], iallocator: "hail" };
    expect((await bed.run(MULTI, both)).result).toEqual(refusal("wrong_input", "not both"));
    expect(bed.view.instances.size).toBe(0);
  });
});

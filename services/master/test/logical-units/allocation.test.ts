/** OP_INSTANCE_CREATE whose nodes an allocator chooses, and which locks it takes for that. */
import type { AllocatorInput } from "@gannet/allocator";
import { NodeUnreachable } from "@gannet/errors";
import { RedisLockManager } from "@gannet/locking";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { type FinishedJob, type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "web1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  bed.nodes.onCall = undefined;
  bed.nodes.failures = [];
  for (const node of NODES) await bed.setNode(node, { offline: false });
  await bed.setCluster({ defaultIallocator: "hail", defaultIallocatorParams: {}, tags: [] });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  expect(await locks().list(), "no lock is left").toEqual([]);
  bed.nodes.calls.length = 0;
});

const locks = () => new RedisLockManager(bed.redis.client);

function wanted(more: Readonly<Record<string, unknown>> = {}) {
  return {
    instance_name: NAME,
    mode: "create",
    disk_template: "plain",
    disks: [{ size: 1024 }],
    nics: [{}],
    os_type: "noop",
    hypervisor: "fake",
    ...more,
  };
}
const create = (more?: Readonly<Record<string, unknown>>) => bed.run("OP_INSTANCE_CREATE", wanted(more));
const placed = async (more?: Readonly<Record<string, unknown>>): Promise<readonly string[]> =>
  (await bed.succeed("OP_INSTANCE_CREATE", wanted(more))).result as readonly string[];
const errorOf = ({ status, result }: FinishedJob) => {
  expect(status).toBe("error");
  const [, [message, code]] = result as [string, [string, string]];
  return { message, code };
};

/** Run something while a create, which has the locks of its node, is in the middle of its work. */
async function whileBusy(node: string, work: () => Promise<void>): Promise<void> {
  const { promise: mayGoOn, resolve: goOn } = Promise.withResolvers<void>();
  const { promise: isThere, resolve: arrived } = Promise.withResolvers<void>();
  bed.nodes.onCall = async (call) => {
    if (call.method !== "create" || call.node !== node) return;
    bed.nodes.onCall = undefined;
    arrived();
    await mayGoOn;
  };
  const busy = create({ instance_name: "busy.gnt.test", pnode: node });
  await isThere;
  try {
    await work();
  } finally {
    goOn();
    expect((await busy).status).toBe("success");
  }
}

test("without a node and an allocator named it is the cluster's default that chooses", async () => {
  const [primary, ...others] = await placed();
  expect(NODES).toContain(primary);
  expect(others).toEqual([]);
  expect(bed.view.nodes.get(bed.instance(NAME).primaryNode)?.name).toBe(primary);
});

test("a mirrored instance gets two nodes; the emptier ones", async () => {
  await placed({ instance_name: "big.gnt.test", pnode: NODE1, disks: [{ size: 5_000 }], beparams: { memory: 8192 } });
  expect(new Set(await placed({ disk_template: "drbd", iallocator: "hail" }))).toEqual(new Set([NODE2, NODE3]));
});

test("a node that does not answer is not chosen", async () => {
  bed.nodes.failures = [NODE1, NODE2].map((node) => ({
    ...{ node, method: "node.describe" },
    error: new NodeUnreachable(node, "down"),
  }));
  expect(await placed({ iallocator: "." })).toEqual([NODE3]);
});

test("a node group that is named is the only one; one that is not there is refused", async () => {
  expect(errorOf(await create({ group_name: "nowhere" }))).toMatchObject({ code: "unknown_entity" });
  expect(await placed({ group_name: "default" })).toHaveLength(1);
});

test("while others have a node, only the rest are looked at when that is asked for", async () => {
  await whileBusy(NODE1, async () => {
    const there = await placed({ iallocator: "hail", opportunistic_locking: true, disk_template: "drbd" });
    expect(new Set(there)).toEqual(new Set([NODE2, NODE3]));
  });
});

test("what is chosen that way must be enough, and is waited for", async () => {
  await bed.setNode(NODE3, { offline: true });
  let waiting: Promise<readonly string[]> | undefined;
  await whileBusy(NODE1, async () => {
    waiting = placed({ iallocator: "hail", opportunistic_locking: true, disk_template: "drbd" });
    await vi.waitFor(async () => {
      const pending = (await locks().list()).filter((lock) => lock.pending.length > 0);
      expect(pending.map(({ name }) => name)).toContain(`node/${bed.uuidOf(NODE1)}`);
    });
    expect(bed.view.findInstance(NAME)).toBeUndefined();
  });
  expect(new Set(await waiting)).toEqual(new Set([NODE1, NODE2]));
});

test("otherwise it waits for all nodes, and lets go of those that were not chosen", async () => {
  let waiting: Promise<FinishedJob> | undefined;
  await whileBusy(NODE1, async () => {
    waiting = create({ iallocator: "hail" });
    await vi.waitFor(async () => {
      const lock = (await locks().list()).find(({ name }) => name === `node/${bed.uuidOf(NODE1)}`);
      expect(lock?.pending).toHaveLength(1);
    });
  });
  expect((await waiting)?.status).toBe("success");
});

test("the nodes that were not chosen are free while the disks are made", async () => {
  const held: string[][] = [];
  bed.nodes.onCall = async ({ method }) => {
    if (method === "create") held.push((await locks().list()).map(({ name }) => name));
  };
  const [primary = ""] = await placed();
  const ofNodes = held.flat().filter((name) => /^node(-res)?\/[0-9a-f]/.test(name));
  expect(new Set(ofNodes)).toEqual(new Set([`node/${bed.uuidOf(primary)}`, `node-res/${bed.uuidOf(primary)}`]));
});

test.each([
  ["insufficient_resources", {}],
  ["temp_insufficient_resources", { opportunistic_locking: true }],
])("when it fits nowhere the reason is told (%s)", async (code, more) => {
  const error = errorOf(await create({ iallocator: "hail", beparams: { memory: 30_000 }, ...more }));
  expect(error.code).toBe(code);
  expect(error.message).toMatch(/FailMem/);
  expect(bed.view.findInstance(NAME)).toBeUndefined();
});

test.each([
  ["a node and an allocator", { pnode: NODE1, iallocator: "hail" }],
  ["a secondary node alone", { snode: NODE1 }],
  ["opportunistic locks without an allocator", { pnode: NODE1, opportunistic_locking: true }],
  ["an allocator for disks that are adopted", { iallocator: "hail", disks: [{ adopt: "vol1" }] }],
])("%s are refused", async (_what, more) => {
  expect(errorOf(await create(more))).toMatchObject({ code: "wrong_input" });
});

test("a cluster without a default needs a name", async () => {
  await bed.setCluster({ defaultIallocator: "" });
  expect(errorOf(await create())).toMatchObject({ code: "wrong_input", message: expect.stringMatching(/allocator/) });
});

test("a site's own allocator is asked on the master's node, with the cluster and the cluster's parameters", async () => {
  await bed.setCluster({ defaultIallocator: "ours", defaultIallocatorParams: { simulate: "", "max-cpu": 4 } });
  let asked: AllocatorInput | undefined;
  bed.nodes.named(NODE1).allocator = (_name, input) => {
    asked = input as AllocatorInput;
    return { output: JSON.stringify({ success: true, info: "", result: [NODE3] }) };
  };
  expect(await placed({ tags: ["green"] })).toEqual([NODE3]);
  const call = bed.nodes.calls.find(({ method }) => method === "node.runAllocator");
  expect(call).toMatchObject({ node: NODE1, request: { name: "ours", arguments: ["--simulate", "--max-cpu=4"] } });
  expect(Object.keys(asked?.nodes ?? {}).sort()).toEqual([...NODES].sort());
  expect(asked?.nodes[NODE2]).toMatchObject({ total_memory: 24_105, free_memory: 20_000, total_disk: 10_000 });
  expect(asked?.request).toMatchObject({
    type: "allocate",
    name: NAME,
    required_nodes: 1,
    tags: ["green"],
    memory: 128,
  });
});

test.each([
  ["fails", '{"success": false, "info": "no room", "result": []}', "insufficient_resources", /no room/],
  ["prints no JSON", "sorry", undefined, /JSON/],
  ["names a node that is not there", '{"success": true, "info": "", "result": ["x"]}', undefined, /no node x/],
  ["names too many", `{"success": true, "info": "", "result": ${JSON.stringify(NODES)}}`, undefined, /1 node/],
])("a site's allocator that %s ends the creation", async (_what, output, code, message) => {
  bed.nodes.named(NODE1).allocator = () => ({ output });
  const { status, result } = await create({ iallocator: "ours" });
  expect(status).toBe("error");
  expect(JSON.stringify(result)).toMatch(message);
  if (code !== undefined) expect(JSON.stringify(result)).toContain(code);
});

/** Instances that are reserved, and made real later: OP_INSTANCE_CREATE with `forthcoming` and with `commit`. */
import { BlockDeviceError, OpExecError } from "@gannet/errors";
import { drbdIdOf } from "@gannet/objects";
import { parseOpcode } from "@gannet/opcodes";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "later1.gnt.test";
const REAL = "real1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  expect([...bed.view.disks.values()]).toEqual([]);
  const { highestUsedPort, tcpudpPortPool } = bed.view.cluster;
  expect(tcpudpPortPool, "every port is free again").toHaveLength(highestUsedPort - 11_000 + 1);
  bed.nodes.calls.length = 0;
});

function create(more: Readonly<Record<string, unknown>> = {}) {
  return {
    instance_name: NAME,
    mode: "create",
    disk_template: "drbd",
    disks: [{ size: 1024 }],
    nics: [{}],
    os_type: "noop",
    pnode: NODE1,
    snode: NODE2,
    hypervisor: "fake",
    ...more,
  };
}
const reserve = (more: Readonly<Record<string, unknown>> = {}) =>
  bed.succeed("OP_INSTANCE_CREATE", create({ forthcoming: true, ...more }));
/** What is needed to commit: the declaration asks for both lists. */
const COMMIT = { instance_name: NAME, mode: "create", disks: [], nics: [], commit: true };

const changes = () =>
  bed.nodes
    .story("create", "standBy", "seed", "os.create", "instances.start", "instances.stop", "remove")
    .map((line) => line.replace(/\.gnt\.test/, ""));

describe("a reservation", () => {
  test("has all that a row can hold, and nothing on any node", async () => {
    const { result, log } = await reserve({ disks: [{ size: 1024 }, { size: 1024 }], tags: ["planned"] });
    expect(result).toEqual([NODE1, NODE2]);
    expect(log.join("\n")).toContain("reserving the resources");
    expect(changes()).toEqual([]);
    const row = bed.instance(NAME);
    expect(row).toMatchObject({
      forthcoming: true,
      adminState: "down",
      disksActive: false,
      diskTemplate: "drbd",
      tags: ["planned"],
      nics: [{ mac: expect.stringMatching(/^aa:00:00:/) }],
    });
    expect(bed.disks(NAME).map((disk) => drbdIdOf(disk).minors)).toEqual([
      [0, 0],
      [1, 1],
    ]);
  });

  test("keeps others from its name, its address, its minors and its space", async () => {
    await reserve();
    const again = await bed.run("OP_INSTANCE_CREATE", create());
    expect(again.result).toMatchObject(["OpPrereqError", [expect.stringContaining("already"), "already_exists"]]);
    const [nic] = bed.instance(NAME).nics;
    const sameMac = await bed.run("OP_INSTANCE_CREATE", create({ instance_name: REAL, nics: [{ mac: nic?.mac }] }));
    expect(sameMac.result).toMatchObject(["OpPrereqError", [expect.anything(), "resource_not_unique"]]);
    // Of 10,000 MiB, 1,152 are promised.
    const large = await bed.run("OP_INSTANCE_CREATE", create({ instance_name: REAL, disks: [{ size: 8_800 }] }));
    expect(large.result).toMatchObject([
      "OpPrereqError",
      [expect.stringContaining("1152 MiB are promised to forthcoming instances"), "insufficient_resources"],
    ]);
    await bed.succeed("OP_INSTANCE_CREATE", create({ instance_name: REAL }));
    expect(bed.disks(REAL).map((disk) => drbdIdOf(disk).minors)).toEqual([[1, 1]]);
  });

  test("is placed by an allocator, too", async () => {
    const { result } = await reserve({ pnode: undefined, snode: undefined, iallocator: "." });
    expect(result).toHaveLength(2);
    expect(bed.instance(NAME).forthcoming).toBe(true);
  });

  test.each([
    ["OP_INSTANCE_STARTUP", {}],
    ["OP_INSTANCE_SHUTDOWN", {}],
    ["OP_INSTANCE_REBOOT", { reboot_type: "hard" }],
    ["OP_INSTANCE_REINSTALL", {}],
    ["OP_INSTANCE_SET_PARAMS", { beparams: { vcpus: 2 } }],
    ["OP_INSTANCE_RENAME", { new_name: REAL }],
    ["OP_INSTANCE_GROW_DISK", { disk: 0, amount: 8 }],
    ["OP_INSTANCE_RECREATE_DISKS", {}],
    ["OP_INSTANCE_REPLACE_DISKS", { mode: "replace_auto" }],
    ["OP_INSTANCE_ACTIVATE_DISKS", {}],
    ["OP_INSTANCE_DEACTIVATE_DISKS", {}],
    ["OP_INSTANCE_MIGRATE", {}],
    ["OP_INSTANCE_FAILOVER", {}],
    ["OP_INSTANCE_MOVE", { target_node: NODE3 }],
    ["OP_INSTANCE_CHANGE_GROUP", {}],
    ["OP_INSTANCE_CONSOLE", {}],
    ["OP_BACKUP_EXPORT", { target_node: NODE3 }],
    ["OP_BACKUP_PREPARE", { mode: "local" }],
  ])("refuses %s", async (id, params) => {
    await reserve();
    const { status, result } = await bed.run(id, { instance_name: NAME, ...params });
    expect(status).toBe("error");
    expect(result).toMatchObject(["OpPrereqError", [expect.stringContaining("is forthcoming"), "wrong_state"]]);
    expect(changes()).toEqual([]);
  });

  test("is left where it is by what moves or inspects all instances", async () => {
    await reserve();
    for (const [id, params] of [
      ["OP_NODE_MIGRATE", { node_name: NODE1 }],
      ["OP_NODE_EVACUATE", { node_name: NODE2, mode: "secondary-only", remote_node: NODE3 }],
    ] as const)
      expect((await bed.succeed(id, params)).result).toEqual({ jobs: [] });
    expect((await bed.succeed("OP_CLUSTER_REPAIR_DISK_SIZES", { instances: [] })).result).toEqual([]);
    const verified = await bed.succeed("OP_GROUP_VERIFY_DISKS", { group_name: "default" });
    expect(verified.result).toEqual([{}, [], {}]);
    const config = await bed.succeed("OP_CLUSTER_VERIFY_CONFIG", {});
    expect(config.result).toBe(true);
    const data = await bed.succeed("OP_INSTANCE_QUERY_DATA", { instances: [NAME], static: false });
    expect(data.result).toMatchObject({ [NAME]: { config_state: "down", run_state: "down" } });
    expect(changes()).toEqual([]);
  });

  test("is no error of the cluster's verification", async () => {
    const errors = async () => {
      const { log } = await bed.run("OP_CLUSTER_VERIFY_GROUP", { group_name: "default" });
      return log.filter((line) => line.includes("ERROR"));
    };
    const before = await errors();
    await reserve();
    expect(await errors()).toEqual(before);
  });

  test("is removed without asking a node", async () => {
    await reserve();
    bed.nodes.calls.length = 0;
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: NAME });
    expect(bed.nodes.story().filter((line) => !line.includes("runHooks"))).toEqual([]);
    expect(bed.view.findInstance(NAME)).toBeUndefined();
  });
});

describe("a commit", () => {
  test("makes the instance as it was reserved: same UUIDs, addresses, minors and ports", async () => {
    await reserve({ beparams: { maxmem: 256, minmem: 256 } });
    const reserved = { row: bed.instance(NAME), disks: bed.disks(NAME) };
    const { result } = await bed.succeed("OP_INSTANCE_CREATE", COMMIT);
    expect(result).toEqual([NODE1, NODE2]);
    expect(changes()).toEqual([
      "node2 create drbd/0",
      "node1 create drbd/0",
      "node2 standBy drbd/0",
      "node1 seed drbd/0",
      "node1 os.create /0",
      "node1 instances.start /0",
    ]);
    const { row } = reserved;
    const { serialNo: _serialNo, mtime: _mtime, ...unchanged } = row;
    const running = { forthcoming: false, adminState: "up", disksActive: true };
    expect(bed.instance(NAME)).toMatchObject({ ...unchanged, ...running });
    expect(bed.disks(NAME).map(({ uuid, logicalId }) => ({ uuid, logicalId }))).toEqual(
      reserved.disks.map(({ uuid, logicalId }) => ({ uuid, logicalId })),
    );
  });

  test("takes the request of a reservation again, with other parameters of the guest", async () => {
    await reserve();
    await bed.succeed("OP_INSTANCE_CREATE", create({ commit: true, beparams: { vcpus: 3 }, start: false }));
    expect(bed.instance(NAME)).toMatchObject({ forthcoming: false, adminState: "down", beparams: { vcpus: 3 } });
  });

  test("has its own promise for it", async () => {
    await reserve({ disks: [{ size: 9_000 }] });
    await bed.succeed("OP_INSTANCE_CREATE", { ...COMMIT, start: false });
  });

  test.each([
    ["another node", { pnode: NODE3 }],
    ["another secondary", { snode: NODE3 }],
    ["another template", { disk_template: "plain" }],
    ["another hypervisor", { hypervisor: "kvm" }],
    ["another number of disks", { disks: [{ size: 1024 }, { size: 1024 }] }],
    ["another size", { disks: [{ size: 2048 }] }],
    ["another number of NICs", { nics: [{}, {}] }],
  ])("with %s than was reserved is refused", async (_what, differing) => {
    await reserve();
    const { result } = await bed.run("OP_INSTANCE_CREATE", { ...COMMIT, ...differing });
    expect(result).toMatchObject(["OpPrereqError", [expect.stringContaining("was reserved with"), "wrong_input"]]);
    expect(bed.instance(NAME).forthcoming).toBe(true);
  });

  test.each([
    [{ commit: true }, "unknown_entity"],
    [{ commit: true, forthcoming: true }, "wrong_input"],
    [{ forthcoming: true, mode: "import" }, "wrong_input"],
    [{ forthcoming: true, disk_template: "plain", disks: [{ adopt: "volume" }] }, "wrong_input"],
  ])("%j is refused as %s", async (params, code) => {
    const { result } = await bed.run("OP_INSTANCE_CREATE", create(params));
    expect(result).toMatchObject(["OpPrereqError", [expect.anything(), code]]);
  });

  test("of an instance that is real is refused", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", create());
    const { result } = await bed.run("OP_INSTANCE_CREATE", COMMIT);
    expect(result).toMatchObject(["OpPrereqError", [expect.stringContaining("not forthcoming"), "wrong_state"]]);
  });

  test.each(["create", "seed", "os.create", "instances.start"])(
    "that fails at %s leaves the reservation as it was",
    async (method) => {
      await reserve();
      const { serialNo: _serialNo, mtime: _mtime, ...reserved } = bed.instance(NAME);
      bed.nodes.failures = [{ node: NODE1, method, error: new BlockDeviceError("it was told to fail") }];
      const { status } = await bed.run("OP_INSTANCE_CREATE", COMMIT);
      expect(status).toBe("error");
      expect(bed.instance(NAME)).toMatchObject(reserved);
      expect(bed.nodes.leftovers()).toEqual([]);
      bed.nodes.failures = [];
      await bed.succeed("OP_INSTANCE_CREATE", COMMIT);
    },
  );

  test("that fails when all is done is only a reservation again", async () => {
    await reserve();
    const cleared = vi.spyOn(bed.ledger, "clearUndo").mockRejectedValueOnce(new OpExecError("it was told to fail"));
    const { status } = await bed.run("OP_INSTANCE_CREATE", COMMIT);
    cleared.mockRestore();
    expect(status).toBe("error");
    expect(bed.instance(NAME)).toMatchObject({ forthcoming: true, adminState: "down", disksActive: false });
    expect(bed.nodes.leftovers()).toEqual([]);
  });

  test("holds the nodes of the reservation, and theirs alone", async () => {
    await reserve();
    const { op } = parseOpcode({ OP_ID: "OP_INSTANCE_CREATE", ...COMMIT });
    const wishes = LOGICAL_UNITS.get("OP_INSTANCE_CREATE")?.locks(op, bed.view) ?? [];
    const held = wishes.map(({ level, name, mode }) => `${level}/${name} ${mode}`);
    const nodes = [NODE1, NODE2].map((name) => bed.uuidOf(name));
    const [group] = bed.view.groups.keys();
    expect(held.toSorted()).toEqual(
      [
        `instance/${NAME} exclusive`,
        `nodegroup/${group} shared`,
        ...nodes.flatMap((uuid) => [`node/${uuid} exclusive`, `node-res/${uuid} exclusive`]),
      ].toSorted(),
    );
  });
});

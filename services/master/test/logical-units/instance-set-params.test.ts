/** OP_INSTANCE_SET_PARAMS: parameters, memory, NICs, disks, the primary node and the admin state. */
import { NodeUnreachable } from "@gannet/errors";
import type { Network, NetworkUuid, NodeGroup } from "@gannet/objects";
import { networkPool } from "@gannet/objects";
import { parseOpcode } from "@gannet/opcodes";
import type { RunHooksRequest } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { onDevice, runUndo, undoStep } from "../../src/executor/undo-actions.ts";
import { blockDeviceMessage } from "../../src/logical-units/instance/messages.ts";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { uuidOf } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "web1.gnt.test";
const INSTANCE = { instance_name: NAME };
const SECRET = "opensesame";
const LAN = uuidOf<NetworkUuid>("lan");

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  await bed.commit((view) => {
    const network = { uuid: LAN, name: "lan", network: "203.0.113.0/28", gateway: "203.0.113.1" };
    const row: Network = {
      ...network,
      ...networkPool.newReservations(network.network, network.gateway),
      ...{ network6: null, gateway6: null, macPrefix: "aa:00:11", tags: [], ctime: 0, mtime: 0, serialNo: 0 },
    };
    const [group] = [...view.groups.values()] as [NodeGroup];
    const connected = { ...group, networks: { [LAN]: { mode: "bridged", link: "br-lan", vlan: "" } } };
    return [
      { kind: "network", put: row },
      { kind: "nodegroup", put: connected },
    ];
  });
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

async function create(more: object = {}): Promise<void> {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...INSTANCE, mode: "create", disk_template: "plain", nics: [{}], os_type: "noop", hypervisor: "fake" },
    ...{ pnode: NODE1, start: false, disks: [{ size: 1024, name: "root" }, { size: 2048 }] },
    ...more,
  });
  bed.nodes.calls.length = 0;
}
const createDrbd = (more: object = {}) => create({ disk_template: "drbd", snode: NODE2, ...more });

const modify = (change: object) => bed.succeed("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, ...change });
const resultOf = async (change: object) => (await bed.run("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, ...change })).result;
const refusal = (code: string, text: string | RegExp = "") => ["OpPrereqError", [expect.stringMatching(text), code]];
/** The requests of one method on one node. */
const asked = (method: string, node?: string) =>
  bed.nodes.calls
    .filter((call) => call.method === method && (node ?? call.node) === call.node)
    .map(({ request }) => request as Record<string, unknown>);

describe("parameters", () => {
  test("of the backend are set, and inherited again by default and null", async () => {
    await create();
    const { result } = await modify({ beparams: { memory: "256", vcpus: 2, auto_balance: false } });
    expect(result).toEqual([
      ["be/memory", "256"],
      ["be/vcpus", 2],
      ["be/auto_balance", false],
    ]);
    expect(bed.instance(NAME).beparams).toEqual({ minmem: 256, maxmem: 256, vcpus: 2, auto_balance: false });
    await modify({ beparams: { minmem: "default", maxmem: null, auto_balance: null } });
    expect(bed.instance(NAME).beparams).toEqual({ vcpus: 2 });
  });

  test("of hypervisor and OS, the private ones seen by nobody", async () => {
    await create({ hypervisor: "kvm" });
    const { result, log } = await modify({
      ...{ hvparams: { acpi: false }, osparams: { dhcp: "yes", locale: "C" } },
      ...{ osparams_private: { password: SECRET }, os_name: "noop+v2", force_variant: true },
    });
    expect(result).toEqual([
      ["hv/acpi", false],
      ["os/dhcp", "yes"],
      ["os/locale", "C"],
      ["os_private/password", "<redacted>"],
    ]);
    expect(bed.instance(NAME)).toMatchObject({
      ...{ os: "noop+v2", hvparams: { acpi: false }, osparams: { dhcp: "yes", locale: "C" } },
      osparamsPrivate: { password: SECRET },
    });
    expect(asked("os.validate", NODE1)).toMatchObject([
      { os: "noop+v2", forceVariant: true, parameters: { dhcp: "yes", locale: "C", password: SECRET } },
    ]);
    expect(log.join("\n")).not.toContain(SECRET);
    await modify({ osparams: { dhcp: "default" }, osparams_private: { password: "default" } });
    expect(bed.instance(NAME)).toMatchObject({ osparams: { locale: "C" }, osparamsPrivate: {} });
  });

  test.each([
    ["nothing", {}, refusal("wrong_input", "No changes submitted")],
    ["an unknown backend parameter", { beparams: { nosuch: 1 } }, ["TypeEnforcementError", [expect.any(String)]]],
    ["a wrong type", { beparams: { vcpus: "many" } }, ["TypeEnforcementError", [expect.any(String)]]],
    ["less at most than at least", { beparams: { minmem: 512, maxmem: 256 } }, refusal("wrong_input", "minmem")],
    ["a global parameter", { hvparams: { migration_mode: "live" } }, refusal("wrong_input", "cluster")],
    ["what the policy forbids", { beparams: { vcpus: 99 } }, refusal("wrong_input", "violates policy.*cpu-count")],
    ["a parameter twice", { osparams: { a: 1 }, osparams_private: { a: 2 } }, refusal("wrong_input", ": a$")],
    ["disks and node", { disks: [["remove", 0, {}]], pnode: NODE2 }, refusal("wrong_input", "same time")],
    ["disks and template", { disks: [["remove", 0, {}]], disk_template: "drbd" }, refusal("wrong_input", "same time")],
  ])("refuse %s", async (_what, change, expected) => {
    await create();
    const before = bed.instance(NAME);
    expect(await resultOf(change)).toEqual(expected);
    expect(bed.instance(NAME)).toEqual(before);
  });

  test("refuse a mask of other processors than there are, and take it with the right number", async () => {
    await create({ hypervisor: "kvm" });
    const hvparams = { cpu_mask: "0:1" };
    expect(await resultOf({ hvparams })).toEqual(refusal("wrong_input", "cpu_mask"));
    await modify({ hvparams, beparams: { vcpus: 2 } });
    expect(await resultOf({ beparams: { vcpus: 3 } })).toEqual(refusal("wrong_input", "cpu_mask"));
    expect(await resultOf({ hvparams: { cpu_mask: "0:512" } })).toEqual(refusal("insufficient_resources", "512"));
  });

  test("outside the policy are taken when it is to be ignored, and leave other changes possible", async () => {
    await create();
    await modify({ beparams: { vcpus: 99 }, ignore_ipolicy: true });
    await modify({ osparams: { dhcp: "no" } });
    expect(bed.instance(NAME).beparams.vcpus).toBe(99);
  });

  test("that a node or an OS definition does not accept change nothing", async () => {
    await create({ hypervisor: "kvm" });
    bed.nodes.failures = [{ method: "instances.validate" }];
    expect(await resultOf({ hvparams: { acpi: false } })).toMatchObject(["BlockDeviceError", expect.any(Array)]);
    bed.nodes.failures = [{ method: "os.validate" }];
    expect(await resultOf({ os_name: "other" })).toMatchObject(["BlockDeviceError", expect.any(Array)]);
    expect(bed.instance(NAME)).toMatchObject({ hvparams: {}, os: "noop" });
    await modify({ os_name: "other", force: true });
    expect(bed.instance(NAME).os).toBe("other");
  });
});

test("another template and other parameters change together", async () => {
  await create();
  await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
  const { result } = await modify({ disk_template: "drbd", remote_node: NODE2, beparams: { vcpus: 2 } });
  expect(result).toEqual([
    ["disk_template", "drbd"],
    ["be/vcpus", 2],
  ]);
  expect(bed.instance(NAME)).toMatchObject({ diskTemplate: "drbd", beparams: { vcpus: 2 } });
  expect(bed.disks(NAME)[0]?.template).toBe("drbd");
});

describe("more memory", () => {
  const tooMuch = { beparams: { maxmem: 30_000 } };

  test("than the primary has is refused, unless forced or nobody can be asked", async () => {
    await create();
    expect(await resultOf(tooMuch)).toEqual(refusal("insufficient_resources", NODE1));
    await modify({ ...tooMuch, force: true });
    await modify({ beparams: { maxmem: "default" } });
    bed.nodes.failures = [{ method: "node.describe" }];
    const { log } = await modify(tooMuch);
    expect(log.join("\n")).toMatch(/WARNING: Whether primary node node1/);
  });

  test("than a secondary has is refused while the instance is balanced for it", async () => {
    await createDrbd();
    const more = { beparams: { maxmem: 2048 } };
    bed.nodes.named(NODE2).memoryFreeMib = 1024;
    expect(await resultOf(more)).toEqual(refusal("wrong_state", NODE2));
    await modify({ beparams: { ...more.beparams, auto_balance: false } });
    bed.nodes.named(NODE2).memoryFreeMib = undefined;
  });

  test("for a running guest is given at once, and taken back when something else fails", async () => {
    await create({ beparams: { minmem: 128, maxmem: 1024 } });
    expect(await resultOf({ runtime_mem: 512 })).toEqual(refusal("wrong_state", "not running"));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    bed.nodes.calls.length = 0;
    expect((await modify({ runtime_mem: 512 })).result).toEqual([["runtime_memory", 512]]);
    expect(asked("instances.setMemory")).toMatchObject([{ name: NAME, memoryMib: 512 }]);
    expect(await resultOf({ runtime_mem: 2048 })).toEqual(refusal("wrong_input", "between 128 and 1024"));
    bed.nodes.calls.length = 0;
    bed.nodes.failures = [{ method: "instances.setMemory", times: 1, after: true }];
    expect((await bed.run("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, runtime_mem: 256 })).status).toBe("error");
    expect(asked("instances.setMemory").map(({ memoryMib }) => memoryMib)).toEqual([256, 512]);
  });
});

describe("NICs", () => {
  const nics = () => bed.instance(NAME).nics;
  const lan = () => networkPool.reservedCount(bed.view.networks.get(LAN) as Network);

  test("are added, changed and removed, by index, name and UUID, in old and new forms", async () => {
    await create();
    const added = await modify({ nics: [["add", { mac: "AA:00:00:11:22:33", name: "dmz" }]] });
    expect(added.result).toEqual([
      ["nic.1", "add:mac=aa:00:00:11:22:33,ip=None,mode=bridged,link=xen-br0,network=None"],
    ]);
    const changed = await modify({ nics: [["modify", "dmz", { ip: "198.51.100.9", bridge: "br0" }]] });
    expect(changed.result).toEqual([
      ["nic.ip/1", "198.51.100.9"],
      ["nic.link/1", "br0"],
      ["nic.mode/1", "bridged"],
      ["nic.vlan/1", ""],
    ]);
    await modify({ nics: [["add", 0, { mode: "routed", ip: "198.51.100.10", link: "100" }]] });
    expect(nics()).toMatchObject([
      { ip: "198.51.100.10", nicparams: { mode: "routed", link: "100" } },
      { name: null },
      { name: "dmz", mac: "aa:00:00:11:22:33", ip: "198.51.100.9", nicparams: { link: "br0" } },
    ]);
    const removed = await modify({
      nics: [
        ["remove", nics()[0]?.uuid, {}],
        ["remove", -1, {}],
      ],
    });
    expect(removed.result).toEqual([
      ["NIC/0", "remove"],
      ["NIC/1", "remove"],
    ]);
    expect(nics()).toHaveLength(1);
    const before = nics()[0]?.mac;
    await modify({ nics: [[0, { mac: "generate", name: "lan", ip: "none" }]] });
    expect(nics()[0]?.mac).not.toBe(before);
    expect(nics()[0]).toMatchObject({ name: "lan", ip: null });
  });

  test("take addresses from their network's pool in the same commit, and give them back", async () => {
    await create();
    const free = lan();
    const { result } = await modify({
      nics: [
        ["add", -1, { network: "lan", ip: "pool" }],
        ["add", -1, { network: LAN, ip: "203.0.113.2" }],
      ],
    });
    // The second one's address is not drawn for the first.
    expect(result).toEqual([
      ["nic.1", expect.stringMatching(/^add:mac=aa:00:11:.*,ip=203.0.113.3,mode=bridged,link=br-lan,network=lan$/)],
      ["nic.2", expect.stringContaining("ip=203.0.113.2,")],
    ]);
    expect(lan()).toBe(free + 2);
    expect(nics()[1]).toMatchObject({ network: LAN, ip: "203.0.113.3", nicparams: {} });
    await modify({ nics: [["modify", 1, { name: "keeps" }]] });
    expect(lan()).toBe(free + 2);
    await modify({ nics: [["modify", 1, { ip: "203.0.113.9" }]] });
    expect(lan()).toBe(free + 2);
    await modify({ nics: [["modify", 1, { network: "none", ip: "none" }]] });
    expect(nics()[1]).toMatchObject({ network: null, ip: null, mac: expect.stringMatching(/^(?!aa:00:11)/) });
    await modify({ nics: [["remove", 2, {}]] });
    expect(lan()).toBe(free);
  });

  test.each([
    ["an index that is not there", [["remove", 9, {}]], refusal("wrong_input", "only 1")],
    ["a name that is not there", [["modify", "nosuch", {}]], refusal("unknown_entity")],
    ["a MAC address that is used", [["add", -1, { mac: "USED" }]], refusal("resource_not_unique")],
    [
      "one address twice",
      [
        ["add", -1, { mac: "aa:00:00:00:00:01" }],
        ["add", -1, { mac: "aa:00:00:00:00:01" }],
      ],
      refusal("resource_not_unique"),
    ],
    ["auto for a NIC that exists", [["modify", 0, { mac: "auto" }]], refusal("wrong_input")],
    ["routed without an address", [["modify", 0, { mode: "routed" }]], refusal("wrong_input", "IP")],
    ["a link that is no interface", [["modify", 0, { link: "a/b" }]], refusal("wrong_input", "link")],
    ["a pool without a network", [["modify", 0, { ip: "pool" }]], refusal("wrong_input", "network")],
    ["mode and network", [["add", -1, { network: "lan", mode: "routed" }]], refusal("wrong_input", "network")],
    ["an unknown network", [["add", -1, { network: "nosuch" }]], refusal("unknown_entity")],
    ["an address outside the network", [["add", -1, { network: "lan", ip: "192.0.2.200" }]], refusal("wrong_input")],
    ["the network's gateway", [["add", -1, { network: "lan", ip: "203.0.113.1" }]], refusal("resource_not_unique")],
    ["another network's address", [["modify", 0, { ip: "203.0.113.7" }]], refusal("wrong_state", "conflicts_check")],
    [
      "a name twice",
      [
        ["add", -1, { name: "x" }],
        ["add", -1, { name: "x" }],
      ],
      refusal("resource_not_unique"),
    ],
    ["a name that is a number", [["add", -1, { name: "12" }]], refusal("wrong_input")],
    ["to be attached", [["attach", -1, {}]], refusal("wrong_input")],
    ["more than there may be", Array.from({ length: 8 }, () => ["add", -1, {}]), refusal("wrong_state", "most is 8")],
    ["fewer than the policy wants", [["remove", 0, {}]], refusal("wrong_input", "nic-count")],
  ])("refuse %s", async (_what, asks, expected) => {
    await create();
    const used = JSON.stringify(asks).replace("USED", nics()[0]?.mac ?? "");
    const before = bed.instance(NAME);
    expect(await resultOf({ nics: JSON.parse(used) })).toEqual(expected);
    expect(bed.instance(NAME)).toEqual(before);
    await modify({ nics: [["modify", 0, { ip: "203.0.113.7" }]], conflicts_check: false });
  });

  test("of a running guest change at once, and a failure there is told only", async () => {
    await create();
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    bed.nodes.calls.length = 0;
    const { result } = await modify({
      nics: [
        ["add", -1, { mac: "aa:00:00:11:22:33" }],
        ["modify", 0, { link: "br7" }],
      ],
    });
    expect(result).toContainEqual(["nic.1", "hotplug:done"]);
    expect(result).toContainEqual(["nic/0", "hotplug:done"]);
    expect(asked("instances.hotplug")).toMatchObject([
      { action: 3, index: 0, device: { value: { link: "br7" } } },
      { action: 1, index: 1, device: { value: { mac: "aa:00:00:11:22:33" } } },
    ]);
    bed.nodes.failures = [{ method: "instances.hotplug" }];
    const job = await modify({ nics: [["remove", 0, {}]] });
    expect(job.result).toEqual([
      ["NIC/0", "remove"],
      ["NIC/0", "hotplug:failed"],
    ]);
    expect(job.log.join("\n")).toContain("was told to fail");
    bed.nodes.failures = [];
    bed.nodes.calls.length = 0;
    await modify({ nics: [["add", -1, {}]], hotplug: false });
    bed.nodes.failures = [{ method: "instances.checkHotplug" }];
    const cold = await modify({ nics: [["add", -1, {}]] });
    expect(cold.log.join("\n")).toContain("Hotplug is not possible");
    expect(asked("instances.hotplug")).toEqual([]);
  });

  test("whose link the node does not have are refused, unless forced", async () => {
    await create();
    const change = { nics: [["modify", 0, { link: "br7" }]] };
    bed.nodes.failures = [{ method: "instances.validate" }];
    expect(await resultOf(change)).toMatchObject(["BlockDeviceError", expect.any(Array)]);
    expect((await modify({ ...change, force: true })).log.join("\n")).toContain("could not be started");
  });
});

describe("disks", () => {
  const volumes = (node: string) => [...bed.nodes.named(node).volumes.keys()];

  test("are added at their place and renumbered, changed, and removed with their volumes", async () => {
    await create();
    const { result } = await modify({ disks: [["add", 1, { size: "1g", mode: "ro", name: "middle" }]] });
    expect(result).toEqual([["disk/1", "add:size=1024,mode=ro"]]);
    expect(bed.disks(NAME)).toMatchObject([
      { name: "root", ivName: "disk/0" },
      { name: "middle", ivName: "disk/1", mode: "ro", sizeMib: 1024 },
      { sizeMib: 2048, ivName: "disk/2" },
    ]);
    expect(volumes(NODE1)).toHaveLength(3);
    const changed = await modify({ disks: [["modify", "middle", { mode: "rw", name: "data" }]] });
    expect(changed.result).toEqual([
      ["disk.mode/1", "rw"],
      ["disk.name/1", "data"],
    ]);
    const removed = await modify({ disks: [["remove", 0, {}]] });
    expect(removed.result).toEqual([["disk/0", "remove"]]);
    expect(volumes(NODE1)).toHaveLength(2);
    expect(bed.disks(NAME)).toMatchObject([
      { name: "data", mode: "rw", ivName: "disk/0" },
      { sizeMib: 2048, ivName: "disk/1" },
    ]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("of DRBD have their second copy, and give back port and minors", async () => {
    await createDrbd();
    const ports = bed.view.cluster.tcpudpPortPool.length;
    await modify({ disks: [["add", -1, { size: 1024 }]] });
    expect(bed.disks(NAME)[2]).toMatchObject({ template: "drbd", nodes: [bed.uuidOf(NODE1), bed.uuidOf(NODE2)] });
    expect(volumes(NODE2)).toHaveLength(6);
    await modify({ disks: [["remove", 2, {}]] });
    expect(volumes(NODE2)).toHaveLength(4);
    expect(bed.view.cluster.tcpudpPortPool.length).toBe(ports === 0 ? 1 : ports);
  });

  test.each([
    ["create", NODE1],
    ["create", NODE2],
    ["standBy", NODE2],
    ["seed", NODE1],
  ])("of DRBD that fail in %s on %s leave everything as it was", async (method, node) => {
    await createDrbd();
    const before = [volumes(NODE1), volumes(NODE2), bed.disks(NAME), bed.instance(NAME)];
    for (const after of [false, true]) {
      bed.nodes.failures = [{ method, node, after }];
      const change = { beparams: { vcpus: 2 }, disks: [["add", -1, { size: 1024 }]] };
      expect((await bed.run("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, ...change })).status).toBe("error");
      expect([volumes(NODE1), volumes(NODE2), bed.disks(NAME), bed.instance(NAME)]).toEqual(before);
      expect(bed.view.disks.size).toBe(2);
    }
    bed.nodes.failures = [];
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("of a running guest come and go with it", async () => {
    await create();
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    bed.nodes.calls.length = 0;
    const { result } = await modify({
      disks: [
        ["remove", 1, {}],
        ["add", 0, { size: 1024, name: "first" }],
      ],
    });
    expect(result).toEqual([
      ["disk/1", "remove"],
      ["disk/1", "hotplug:done"],
      ["disk/0", "add:size=1024,mode=rw"],
      ["disk/0", "hotplug:done"],
    ]);
    expect(asked("instances.hotplug")).toMatchObject([
      { action: 2, index: 1, device: { value: { sizeMib: 2048 } } },
      { action: 1, index: 0, device: { value: { name: "first" } } },
    ]);
    expect(bed.nodes.story("create", "instances.hotplug", "remove")).toEqual([
      `${NODE1} create plain/0`,
      `${NODE1} instances.hotplug /0`,
      `${NODE1} instances.hotplug /0`,
      `${NODE1} remove plain/1`,
    ]);
  });

  test("that a running guest does not let go of stay, and those taken before are put back", async () => {
    await create();
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    const before = bed.instance(NAME);
    bed.nodes.calls.length = 0;
    let calls = 0;
    bed.nodes.onCall = async ({ method }) => {
      if (method !== "instances.hotplug") return;
      calls += 1;
      bed.nodes.failures = calls === 2 ? [{ method, times: 1 }] : [];
    };
    const change = {
      disks: [
        ["remove", 0, {}],
        ["remove", 0, {}],
        ["add", -1, { size: 1024 }],
      ],
    };
    const { status } = await bed.run("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, ...change });
    bed.nodes.onCall = undefined;
    expect(status).toBe("error");
    expect(asked("instances.hotplug").map(({ action, index }) => [action, index])).toEqual([
      [2, 0],
      [2, 0],
      [1, 1],
      [1, 0],
    ]);
    expect(bed.instance(NAME)).toEqual(before);
    expect(volumes(NODE1)).toHaveLength(2);
    bed.nodes.failures = [{ method: "instances.checkHotplug" }];
    expect(await resultOf({ disks: [["detach", 0, {}]] })).toEqual(refusal("wrong_state", "shut it down"));
  });

  test("are detached and attached with what is on them", async () => {
    await create();
    const [root] = bed.disks(NAME);
    expect((await modify({ disks: [["detach", "root", {}]] })).result).toEqual([["disk/0", "detach"]]);
    expect(bed.disks(NAME)).toHaveLength(1);
    expect(bed.view.disks.get(root?.uuid as never)).toBeDefined();
    expect(await resultOf({ disks: [["attach", -1, { name: "nosuch" }]] })).toEqual(refusal("unknown_entity"));
    const { result } = await modify({ disks: [["attach", -1, { uuid: root?.uuid }]] });
    expect(result).toEqual([["disk/1", "attach:size=1024,mode=rw"]]);
    expect(bed.disks(NAME)[1]).toMatchObject({ uuid: root?.uuid, ivName: "disk/1", name: "root" });
    expect(await resultOf({ disks: [["attach", -1, { name: "root" }]] })).toEqual(refusal("wrong_state", NAME));
    expect([...bed.nodes.named(NODE1).volumes.values()].map(({ contents }) => contents)).toEqual([
      "installed",
      "installed",
    ]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("that two instances want at once are attached to one of them", async () => {
    const disks = [
      { size: 1024, provider: "pvdr", name: "shared" },
      { size: 1024, provider: "pvdr" },
    ];
    await create({ disk_template: "ext", disks });
    const others = ["web2.gnt.test", "web3.gnt.test"] as const;
    for (const [position, instance_name] of others.entries())
      await create({ instance_name, disk_template: "ext", disks: disks.slice(1), pnode: [NODE2, NODE3][position] });
    await modify({ disks: [["detach", "shared", {}]] });
    const attach = { disks: [["attach", -1, { name: "shared" }]] };
    const jobs = await Promise.all(
      others.map((instance_name) => bed.run("OP_INSTANCE_SET_PARAMS", { instance_name, ...attach })),
    );
    expect(jobs.map(({ status }) => status).sort()).toEqual(["error", "success"]);
    expect(others.flatMap((name) => bed.disks(name)).filter(({ name }) => name === "shared")).toHaveLength(1);
    // Each scripted node has a storage of its own, whatever the template.
    for (const node of NODES) bed.nodes.named(node).volumes.clear();
  });

  test("of DRBD leave a running instance with both ends, and come back to both", async () => {
    await createDrbd();
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    const ends = () => [bed.nodes.named(NODE1).ends.size, bed.nodes.named(NODE2).ends.size];
    await modify({ disks: [["detach", 0, {}]] });
    expect(ends()).toEqual([1, 1]);
    bed.nodes.calls.length = 0;
    await modify({ disks: [["attach", 0, { name: "root" }]] });
    expect(ends()[1]).toBe(2);
    expect(bed.nodes.story("standBy", "instances.hotplug")).toEqual([
      `${NODE2} standBy drbd/0`,
      `${NODE1} instances.hotplug /0`,
    ]);
  });

  test("can all go, and the first again says its template", async () => {
    await create();
    await modify({
      disks: [
        ["remove", 0, {}],
        ["remove", 0, {}],
      ],
    });
    expect(bed.instance(NAME)).toMatchObject({ diskTemplate: "diskless", disks: [] });
    expect(await resultOf({ disks: [["add", -1, { size: 1024 }]] })).toEqual(refusal("wrong_input", "dev_type"));
    await modify({ disks: [["add", -1, { size: 1024, dev_type: "plain" }]] });
    expect(bed.instance(NAME).diskTemplate).toBe("plain");
  });

  test.each([
    ["no size", [["add", -1, {}]], refusal("wrong_input", "size")],
    ["another template", [["add", -1, { size: 1024, dev_type: "file" }]], refusal("wrong_input", "dev_type")],
    ["another size", [["modify", 0, { size: 4096 }]], refusal("wrong_input", "grow")],
    ["another group", [["modify", 0, { vg: "fast" }]], refusal("wrong_input", "vg")],
    ["adoption", [["add", -1, { adopt: "old" }]], refusal("wrong_input", "adopt")],
    ["a place that is not there", [["add", 5, { size: 1024 }]], refusal("wrong_input", "only 2")],
    ["a name for a place", [["add", "root", { size: 1024 }]], refusal("wrong_input", "index")],
    ["a name twice", [["add", -1, { size: 1024, name: "root" }]], refusal("resource_not_unique")],
    ["too much", [["add", -1, { size: 100_000 }]], refusal("insufficient_resources", NODE1)],
    ["too little for the policy", [["add", -1, { size: 1 }]], refusal("wrong_input", "disk-size/2")],
    ["too many", Array.from({ length: 15 }, () => ["add", -1, { size: 1024 }]), refusal("wrong_state", "most is 16")],
    [
      "spindles without exclusive storage",
      [["add", -1, { size: 1024, spindles: 2 }]],
      refusal("wrong_input", "spindles"),
    ],
  ])("refuse %s", async (_what, disks, expected) => {
    await create();
    const before = bed.instance(NAME);
    expect(await resultOf({ disks })).toEqual(expected);
    expect(bed.instance(NAME)).toEqual(before);
    expect(bed.nodes.story("create")).toEqual([]);
  });

  test("are not touched while a node of them is offline", async () => {
    await createDrbd();
    await bed.setNode(NODE2, { offline: true });
    expect(await resultOf({ disks: [["add", -1, { size: 1024 }]] })).toEqual(refusal("wrong_state", NODE2));
    await modify({ beparams: { vcpus: 2 } });
  });
});

test("the site's hooks are told of what is to be, without secrets, and can refuse it", async () => {
  await create();
  const runs = () => asked("node.runHooks", NODE1) as unknown as readonly RunHooksRequest[];
  const change = { beparams: { vcpus: 2 }, osparams_private: { password: SECRET }, nics: [["add", -1, {}]] };
  await modify(change);
  const [pre] = runs().filter(({ path, phase }) => path === "instance-modify" && phase === "pre");
  expect(pre?.environment).toMatchObject({ GANETI_INSTANCE_VCPUS: "2", GANETI_INSTANCE_NIC_COUNT: "2" });
  expect(JSON.stringify(runs())).not.toContain(SECRET);
  const post = runs().find(({ path, phase }) => path === "instance-modify" && phase === "post");
  expect(post?.environment.GANETI_POST_INSTANCE_NIC1_MAC).toBe(bed.instance(NAME).nics[1]?.mac);
  bed.nodes.named(NODE1).hooks = ({ phase }) =>
    phase === "pre" ? [{ script: "instance-modify-pre.d/10-no", status: "fail", output: "no" }] : [];
  const before = bed.instance(NAME);
  const { result } = await bed.run("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, beparams: { vcpus: 3 } });
  bed.nodes.named(NODE1).hooks = () => [];
  expect(result).toMatchObject(["HooksAbort", expect.any(Array)]);
  expect(bed.instance(NAME)).toEqual(before);
});

test("what a leader left that died after the change was written stays", async () => {
  await create();
  await modify({ disks: [["add", -1, { size: 1024 }]] });
  const [, , added] = bed.disks(NAME);
  if (added === undefined) throw new Error("no disk was added");
  const before = [...bed.nodes.named(NODE1).volumes.keys()];
  const device = blockDeviceMessage(bed.view, bed.instance(NAME), added, 2, bed.uuidOf(NODE1));
  const steps = [
    undoStep("remove-disk-rows", { disks: [added.uuid] }),
    undoStep("remove-unused-device", onDevice(bed.uuidOf(NODE1), device)),
  ];
  const problems = await runUndo(
    {
      config: bed.view,
      commit: async (change) => {
        await bed.commit(change);
        return bed.view;
      },
      node: (uuid) => bed.nodes.client(uuid),
      step: (name) => ({ epoch: 1, jobId: 1, opcodeIndex: 0, step: name }),
      feedback: { info: fail, warning: fail, step: fail, entry: fail },
      ...{ logger: silentLogger(), live: bed.live, signal: new AbortController().signal },
    },
    steps,
  );
  expect(problems).toEqual([]);
  expect(bed.disks(NAME)).toHaveLength(3);
  expect([...bed.nodes.named(NODE1).volumes.keys()]).toEqual(before);
});

function fail(text: unknown): never {
  throw new Error(`told: ${String(text)}`);
}

describe("the primary node", () => {
  test("becomes the secondary, where the instance does not run", async () => {
    await createDrbd();
    await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
    expect((await modify({ pnode: NODE2 })).result).toEqual([]);
    expect(bed.instance(NAME).primaryNode).toBe(bed.uuidOf(NODE2));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect([...bed.nodes.named(NODE2).guests]).toEqual([NAME]);
    expect(await resultOf({ pnode: NODE1 })).toEqual(refusal("wrong_state", "still running"));
  });

  test("is changed with a warning while the one before cannot be asked", async () => {
    await createDrbd();
    await bed.setNode(NODE1, { offline: true });
    const { log } = await modify({ pnode: NODE2 });
    expect(log.join("\n")).toContain("marked offline");
    expect(bed.instance(NAME).primaryNode).toBe(bed.uuidOf(NODE2));
    bed.nodes.failures = [{ method: "instances.state", error: new NodeUnreachable(NODE2, "it is silent") }];
    await bed.setNode(NODE1, { offline: false });
    expect((await modify({ pnode: NODE1 })).log.join("\n")).toContain("is not known");
  });

  test("is none that has no disks of it, or cannot be used", async () => {
    await createDrbd();
    expect(await resultOf({ pnode: NODE3 })).toEqual(refusal("wrong_input", "secondary"));
    expect(await resultOf({ pnode: "nosuch" })).toEqual(refusal("unknown_entity"));
    await bed.setNode(NODE2, { offline: true });
    expect(await resultOf({ pnode: NODE2 })).toEqual(refusal("wrong_state", "offline"));
  });

  test("of disks on one node only is changed by moving", async () => {
    await create();
    expect(await resultOf({ pnode: NODE2 })).toEqual(refusal("wrong_input", "move"));
  });
});

describe("the admin state", () => {
  test("goes offline from down and back, and not while the instance is up", async () => {
    await create();
    expect((await modify({ offline: true })).result).toEqual([["admin_state", "offline"]]);
    expect(bed.instance(NAME).adminState).toBe("offline");
    expect((await bed.run("OP_INSTANCE_STARTUP", INSTANCE)).status).toBe("error");
    expect((await modify({ offline: false })).result).toEqual([["admin_state", "down"]]);
    expect((await modify({ offline: false })).result).toEqual([["admin_state", "down"]]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(await resultOf({ offline: true })).toEqual(refusal("wrong_state", "without being down first"));
  });
});

describe("locks", () => {
  const locksOf = (params: object) => {
    const { op, declaration } = parseOpcode({ OP_ID: "OP_INSTANCE_SET_PARAMS", ...INSTANCE, ...params });
    const names = new Map(NODES.map((name) => [bed.uuidOf(name) as string, name.slice(0, 5)]));
    return LOGICAL_UNITS.get(declaration.id)
      ?.locks(op, bed.view)
      .filter(({ level }) => level !== "nodegroup")
      .map(({ level, name, mode }) => `${mode} ${level}/${names.get(name) ?? name}`);
  };

  test("are the instance's and its nodes'; of disk-heavy work only where the template changes", async () => {
    await createDrbd();
    const own = [`exclusive instance/${NAME}`, "exclusive node/node1", "exclusive node/node2"];
    expect(locksOf({ beparams: { vcpus: 2 } })).toEqual(own);
    expect(locksOf({ pnode: NODE3 })).toEqual([...own, "exclusive node/node3"]);
    expect(locksOf({ disk_template: "drbd" })).toEqual(
      expect.arrayContaining(["exclusive node/node3", "exclusive node-res/node3"]),
    );
    expect(locksOf({ disk_template: "plain" })).toEqual([
      ...own,
      "exclusive node-res/node1",
      "exclusive node-res/node2",
    ]);
  });
});

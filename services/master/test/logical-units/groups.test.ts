/** Node groups: their parameters and policies, and the nodes in them. */
import { filledPolicy } from "@gannet/objects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const refusal = async (id: string, params: Readonly<Record<string, unknown>>) => (await bed.run(id, params)).result;
const group = (name: string) => {
  const found = bed.view.findGroup(name);
  if (found === undefined) throw new Error(`there is no group ${name}`);
  return found;
};
const nodesIn = (name: string) => bed.view.nodesOf(group(name).uuid).map((node) => node.name);
const assign = (name: string, nodes: readonly string[], more: object = {}) =>
  bed.run("OP_GROUP_ASSIGN_NODES", { group_name: name, nodes, ...more });

describe("OP_GROUP_ADD", () => {
  test("makes an empty group with its parameters", async () => {
    const params = { alloc_policy: "last_resort", ndparams: { spindle_count: "3" }, ipolicy: { "vcpu-ratio": 2 } };
    expect((await bed.succeed("OP_GROUP_ADD", { group_name: "g2", ...params })).result).toBe(null);
    expect(group("g2")).toMatchObject({ allocPolicy: "last_resort", ndparams: { spindle_count: 3 } });
    expect(filledPolicy(bed.view.cluster, group("g2"))).toMatchObject({ "vcpu-ratio": 2, "spindle-ratio": 32 });
  });

  test.each([
    [{ group_name: "g2" }, "already_exists"],
    [{ ipolicy: { std: { "cpu-count": 1 } } }, "wrong_input"],
    [{ ipolicy: { "disk-templates": ["nosuch"] } }, "wrong_input"],
    [{ diskparams: { drbd: { protocol: "X" } } }, "wrong_input"],
    [{ disk_state: { rbd: {} } }, "wrong_input"],
  ])("refuses %j", async (params, code) => {
    const result = await refusal("OP_GROUP_ADD", { group_name: "g9", ...params });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(bed.view.findGroup("g9")).toBe(undefined);
  });
});

describe("OP_GROUP_SET_PARAMS", () => {
  const modify = (params: Readonly<Record<string, unknown>>) =>
    bed.run("OP_GROUP_SET_PARAMS", { group_name: "g2", ...params });

  test("changes parameters, and tells of some as Ganeti does", async () => {
    const job = await modify({
      ...{ alloc_policy: "preferred", ndparams: { oob_program: "" }, diskparams: { plain: { stripes: 2 } } },
      ...{ hv_state: { kvm: { mem_node: 512 } }, ipolicy: { minmax: "default", "spindle-ratio": 5 } },
    });
    expect(job.result).toEqual([
      ["ndparams", JSON.stringify({ spindle_count: 3, oob_program: "" })],
      ["diskparams", JSON.stringify({ plain: { stripes: 2 } })],
    ]);
    expect(group("g2")).toMatchObject({ allocPolicy: "preferred", hvState: { kvm: { mem_node: 512 } } });
    expect(group("g2").ipolicy).toEqual({ "vcpu-ratio": 2, "spindle-ratio": 5 });
  });

  test("'default' goes back to what the cluster says", async () => {
    await modify({
      ndparams: { spindle_count: "default" },
      ipolicy: { "vcpu-ratio": "default", "spindle-ratio": null },
    });
    expect(group("g2")).toMatchObject({ ndparams: { oob_program: "" }, ipolicy: {} });
    expect(group("g2").ipolicy).toEqual({});
  });

  test.each([
    [{}, "wrong_input"],
    [{ group_name: "nosuch", alloc_policy: "preferred" }, "unknown_entity"],
    [{ ipolicy: { std: {} } }, "wrong_input"],
    [{ ipolicy: { minmax: [{ min: {}, max: {} }] } }, "wrong_input"],
    [{ hv_state: { nosuch: {} } }, "wrong_input"],
  ])("refuses %j", async (params, code) => {
    expect((await modify(params)).result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });

  test("refuses an unknown parameter as an error of types", async () => {
    expect((await modify({ ndparams: { nosuch: 1 } })).result).toEqual(["TypeEnforcementError", [expect.any(String)]]);
  });
});

describe("OP_GROUP_RENAME", () => {
  test("renames, and refuses a name that is taken", async () => {
    expect((await bed.succeed("OP_GROUP_RENAME", { group_name: "g2", new_name: "rack2" })).result).toBe("rack2");
    expect(await refusal("OP_GROUP_RENAME", { group_name: "rack2", new_name: "default" })).toEqual([
      "OpPrereqError",
      [expect.any(String), "already_exists"],
    ]);
    expect(bed.view.findGroup("g2")).toBe(undefined);
  });
});

describe("OP_GROUP_ASSIGN_NODES", () => {
  beforeAll(async () => {
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: "web1.gnt.test", mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], nics: [{}] },
      ...{ os_type: "noop", pnode: NODE1, snode: NODE2, hypervisor: "fake", start: false, ignore_ipolicy: true },
    });
  });

  test("moves nodes, and again without a change", async () => {
    expect(await assign("rack2", [NODE3])).toMatchObject({ status: "success", result: null, log: [] });
    expect(nodesIn("rack2")).toEqual([NODE3]);
    const { serialNo } = bed.view.findNode(NODE3) ?? {};
    expect((await assign("rack2", [NODE3])).status).toBe("success");
    expect(bed.view.findNode(NODE3)?.serialNo).toBe(serialNo);
  });

  test("splits no instance unless forced, and tells of those that are split already", async () => {
    expect((await assign("rack2", [NODE2])).result).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/get split by this change: web1.gnt.test/), "wrong_state"],
    ]);
    expect(nodesIn("rack2")).toEqual([NODE3]);
    const forced = await assign("rack2", [NODE2], { force: true });
    expect(forced.log.join("\n")).toContain(
      "WARNING: This operation will split the following instances: web1.gnt.test",
    );
    const third = await assign("default", [NODE3]);
    expect(third.status).toBe("success");
    expect(third.log.join("\n")).toContain("already-split instances continue to be split across groups: web1.gnt.test");
    // Both of its nodes together split nothing.
    const both = await assign("rack2", [NODE1, NODE2]);
    expect(both).toMatchObject({ status: "success", log: [] });
    await assign("default", [NODE1, NODE2]);
  });

  test("tells of instances that leave their networks behind", async () => {
    await bed.succeed("OP_NETWORK_ADD", { network_name: "lan", network: "203.0.113.0/24" });
    const lan = { network_name: "lan", group_name: "default", network_mode: "bridged", network_link: "br0" };
    await bed.succeed("OP_NETWORK_CONNECT", lan);
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...{ instance_name: "net1.gnt.test", mode: "create", disk_template: "diskless", disks: [], os_type: "noop" },
      ...{
        nics: [{ network: "lan", ip: "pool" }],
        pnode: NODE3,
        hypervisor: "fake",
        start: false,
        ignore_ipolicy: true,
      },
    });
    const job = await assign("rack2", [NODE3]);
    expect(job.log.join("\n")).toContain("rack2 is not connected to all networks of these instances: net1.gnt.test");
  });

  test.each([
    ["nosuch", [NODE1], {}, "unknown_entity"],
    ["rack2", ["nosuch.gnt.test"], {}, "unknown_entity"],
  ])("refuses %s, %j", async (name, nodes, more, code) => {
    expect((await assign(name, nodes, more)).result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });

  test("refuses names and UUIDs that do not agree", async () => {
    const { result } = await assign("rack2", [NODE1], { node_uuids: [bed.uuidOf(NODE2)] });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), "wrong_input"]]);
  });
});

describe("OP_GROUP_REMOVE", () => {
  test("removes an empty group that is not the last", async () => {
    expect(await refusal("OP_GROUP_REMOVE", { group_name: "rack2" })).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/^Group 'rack2' not empty, has the following nodes: node3/), "wrong_state"],
    ]);
    await assign("default", [NODE3]);
    await bed.succeed("OP_GROUP_REMOVE", { group_name: "rack2" });
    expect([...bed.view.groups.values()].map(({ name }) => name)).toEqual(["default"]);
    expect(await refusal("OP_GROUP_REMOVE", { group_name: "default" })).toEqual([
      "OpPrereqError",
      [expect.any(String), "wrong_state"],
    ]);
    expect(await refusal("OP_GROUP_REMOVE", { group_name: "rack2" })).toEqual([
      "OpPrereqError",
      [expect.any(String), "unknown_entity"],
    ]);
  });
});

/** Networks: their addresses, their connections to groups, and NICs that draw addresses from them. */
import { networkPool } from "@gannet/objects";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const refusal = async (id: string, params: Readonly<Record<string, unknown>>) => (await bed.run(id, params)).result;
const network = (name: string) => {
  const found = bed.view.findNetwork(name);
  if (found === undefined) throw new Error(`there is no network ${name}`);
  return found;
};
const kept = (name: string) => networkPool.externalReservations(network(name));
const add = (name: string, more: Readonly<Record<string, unknown>>) =>
  bed.succeed("OP_NETWORK_ADD", { network_name: name, ...more });
const connect = (name: string, more: Readonly<Record<string, unknown>> = {}) =>
  bed.run("OP_NETWORK_CONNECT", {
    ...{ network_name: name, group_name: "default", network_mode: "bridged", network_link: "br0" },
    ...more,
  });
const create = (name: string, nics: readonly Readonly<Record<string, unknown>>[], more: object = {}) =>
  bed.run("OP_INSTANCE_CREATE", {
    ...{ instance_name: name, mode: "create", disk_template: "diskless", disks: [], nics, os_type: "noop" },
    ...{ pnode: NODE2, hypervisor: "fake", start: false, ignore_ipolicy: true },
    ...more,
  });

describe("OP_NETWORK_ADD", () => {
  test("keeps what no instance may have: ends, gateway, own machines, what is named", async () => {
    const job = await add("lan", {
      ...{ network: "192.0.2.0/28", gateway: "192.0.2.14", add_reserved_ips: ["192.0.2.9"], mac_prefix: "AA:00:01" },
      ...{ network6: "2001:db8::/64", gateway6: "2001:db8::1", tags: ["b", "a"] },
    });
    expect(job.result).toBe(null);
    expect(network("lan")).toMatchObject({ macPrefix: "aa:00:01", tags: ["a", "b"], gateway6: "2001:db8::1" });
    const own = ["192.0.2.1", "192.0.2.2", "192.0.2.3"];
    expect(kept("lan")).toEqual(["192.0.2.0", ...own, "192.0.2.9", "192.0.2.14", "192.0.2.15"]);
    expect(job.log.join("\n")).toContain(`Reserved IP address 192.0.2.2 of node ${NODE2}`);
  });

  test("leaves own machines alone where conflicts are not to be checked", async () => {
    await add("same-again", { network: "192.0.2.0/28", conflicts_check: false });
    expect(kept("same-again")).toEqual(["192.0.2.0", "192.0.2.15"]);
  });

  test.each([
    [{ network_name: "lan", network: "203.0.113.0/24" }, "already_exists"],
    [{ network: "203.0.113.0/31" }, "wrong_input"],
    [{ network: "203.0.113.7/24" }, "wrong_input"],
    [{ network: "203.0.113.0/24", gateway: "198.51.100.1" }, "wrong_input"],
    [{ network: "203.0.113.0/24", gateway6: "2001:db8::1" }, "wrong_input"],
    [{ network: "203.0.113.0/24", network6: "2001:db8::/64", gateway6: "2001:db8:1::1" }, "wrong_input"],
    [{ network: "203.0.113.0/24", mac_prefix: "01:00:00" }, "wrong_input"],
    [{ network: "203.0.113.0/24", add_reserved_ips: ["198.51.100.1"] }, "wrong_input"],
    [{ network: "203.0.113.0/24", add_reserved_ips: ["203.0.113.5", "203.0.113.5"] }, "resource_not_unique"],
  ])("refuses %j", async (params, code) => {
    const result = await refusal("OP_NETWORK_ADD", { network_name: "other", ...params });
    expect(result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(bed.view.findNetwork("other")).toBe(undefined);
  });
});

describe("OP_NETWORK_SET_PARAMS", () => {
  const modify = (params: Readonly<Record<string, unknown>>) =>
    bed.run("OP_NETWORK_SET_PARAMS", { network_name: "lan", ...params });

  test("moves the gateway, and what is kept for others", async () => {
    expect((await modify({})).status).toBe("success");
    await modify({ gateway: "192.0.2.13", add_reserved_ips: ["192.0.2.10"], remove_reserved_ips: ["192.0.2.9"] });
    expect(kept("lan").slice(4)).toEqual(["192.0.2.10", "192.0.2.13", "192.0.2.15"]);
    await modify({ gateway: "none", network6: "none", gateway6: "none", mac_prefix: "aa:00:02" });
    expect(network("lan")).toMatchObject({ gateway: null, network6: null, gateway6: null, macPrefix: "aa:00:02" });
    expect(kept("lan")).not.toContain("192.0.2.13");
  });

  test("tells of what is so already", async () => {
    const job = await modify({ add_reserved_ips: ["192.0.2.10"], remove_reserved_ips: ["192.0.2.11"] });
    expect(job.status).toBe("success");
    expect(job.log.join(" ")).toMatch(/192.0.2.10 is already reserved.*192.0.2.11 is not reserved/);
  });

  test.each([
    [{ network_name: "nosuch" }, "unknown_entity"],
    [{ gateway: "198.51.100.1" }, "wrong_input"],
    [{ gateway: "192.0.2.10" }, "resource_not_unique"],
    [{ remove_reserved_ips: ["192.0.2.0"] }, "wrong_input"],
    [{ add_reserved_ips: ["198.51.100.1"] }, "wrong_input"],
    [{ gateway6: "2001:db8::1" }, "wrong_input"],
  ])("refuses %j", async (params, code) => {
    const before = network("lan");
    expect((await modify(params)).result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(network("lan")).toEqual(before);
  });
});

test("of two that are added at once with one name, one is", async () => {
  const twins = await Promise.all(
    [1, 2].map(() => bed.run("OP_NETWORK_ADD", { network_name: "twin", network: "198.19.0.0/24" })),
  );
  expect(twins.map(({ status }) => status).sort()).toEqual(["error", "success"]);
  expect(twins.find(({ status }) => status === "error")?.result).toEqual([
    "OpPrereqError",
    [expect.any(String), "already_exists"],
  ]);
});

test("OP_NETWORK_RENAME", async () => {
  await add("old", { network: "203.0.113.0/24" });
  expect((await bed.succeed("OP_NETWORK_RENAME", { network_name: "old", new_name: "new" })).result).toBe("new");
  expect(bed.view.findNetwork("old")).toBe(undefined);
  const again = await refusal("OP_NETWORK_RENAME", { network_name: "new", new_name: "lan" });
  expect(again).toEqual(["OpPrereqError", [expect.any(String), "already_exists"]]);
});

describe("connected to a group", () => {
  beforeAll(async () => {
    await connect("lan");
    await add("small", { network: "198.18.0.0/30", mac_prefix: "aa:11:22" });
    await connect("small", { network_mode: "routed", network_link: "100" });
  });

  test("connecting and disconnecting again are told of and are no errors", async () => {
    const again = await connect("lan", { network_link: "other" });
    expect(again).toMatchObject({ status: "success", result: null });
    expect(again.log.join("\n")).toContain("WARNING: Network 'lan' is already mapped to group 'default'");
    const not = await bed.succeed("OP_NETWORK_DISCONNECT", { network_name: "new", group_name: "default" });
    expect(not.log.join("\n")).toContain("is not mapped to group 'default'");
    expect(bed.view.findGroup("default")?.networks[network("lan").uuid]).toMatchObject({ link: "br0" });
  });

  test("NICs draw addresses, MAC prefix and parameters from it, and give the addresses back", async () => {
    await bed.succeed("OP_CLUSTER_SET_PARAMS", { mac_prefix: "aa:00:09" });
    expect((await create("pool1.gnt.test", [{ network: "lan", ip: "pool" }, {}])).status).toBe("success");
    const [first, second] = bed.instance("pool1.gnt.test").nics;
    expect(first).toMatchObject({ ip: "192.0.2.4", network: network("lan").uuid, nicparams: {} });
    expect([first?.mac, second?.mac]).toEqual([expect.stringMatching(/^aa:00:02/), expect.stringMatching(/^aa:00:09/)]);
    expect((await create("pool2.gnt.test", [{ network: "lan", ip: "192.0.2.5" }])).status).toBe("success");
    expect(networkPool.isReserved(network("lan"), "192.0.2.5")).toBe(true);
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: "pool1.gnt.test" });
    expect(networkPool.isReserved(network("lan"), "192.0.2.4")).toBe(false);
    expect((await create("pool3.gnt.test", [{ network: "lan", ip: "pool" }])).status).toBe("success");
    expect(bed.instance("pool3.gnt.test").nics[0]?.ip).toBe("192.0.2.4");
  });

  test("two creations at once get two addresses, and a third none where there are no more", async () => {
    const jobs = await Promise.all(
      ["a", "b", "c"].map((name) => create(`small-${name}.gnt.test`, [{ network: "small", ip: "pool" }])),
    );
    expect(jobs.map(({ status }) => status).sort()).toEqual(["error", "success", "success"]);
    expect(jobs.find(({ status }) => status === "error")?.result).toEqual([
      "OpPrereqError",
      [expect.stringContaining("small"), "insufficient_resources"],
    ]);
    expect(networkPool.freeCount(network("small"))).toBe(0);
    for (const { name } of [...bed.view.instances.values()].filter((each) => each.name.startsWith("small-")))
      await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name });
    expect(networkPool.freeCount(network("small"))).toBe(2);
  });

  test("a creation that fails later gives its address back", async () => {
    bed.nodes.failures = [{ method: "instances.start" }];
    const job = await create("late.gnt.test", [{ network: "small", ip: "pool" }], { start: true });
    bed.nodes.failures = [];
    expect(job.status).toBe("error");
    expect(networkPool.freeCount(network("small"))).toBe(2);
  });

  test.each([
    [{ network: "nosuch" }, "unknown_entity"],
    [{ network: "new", ip: "pool" }, "wrong_input"],
    [{ ip: "pool" }, "wrong_input"],
    [{ network: "lan", ip: "198.51.100.77" }, "wrong_input"],
    [{ network: "lan", ip: "192.0.2.5" }, "resource_not_unique"],
    [{ network: "lan", ip: "192.0.2.15" }, "resource_not_unique"],
    [{ network: "lan", link: "br9" }, "wrong_input"],
    [{ network: "small" }, "wrong_input"],
    [{ ip: "192.0.2.6" }, "wrong_state"],
  ])("a NIC %j is refused", async (nic, code) => {
    expect((await create("never.gnt.test", [nic])).result).toEqual(["OpPrereqError", [expect.any(String), code]]);
    expect(bed.view.findInstance("never.gnt.test")).toBe(undefined);
  });

  test("it is neither disconnected nor removed while it is in use", async () => {
    expect(await refusal("OP_NETWORK_DISCONNECT", { network_name: "lan", group_name: "default" })).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/^Conflicting IP addresses found.*pool2.gnt.test: nic0\/192.0.2.5/), "wrong_state"],
    ]);
    expect(await refusal("OP_NETWORK_REMOVE", { network_name: "lan", force: true })).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/^Network still connected: .*default/), "wrong_state"],
    ]);
    for (const instance_name of ["pool2.gnt.test", "pool3.gnt.test"])
      await bed.succeed("OP_INSTANCE_REMOVE", { instance_name });
    await bed.succeed("OP_NETWORK_DISCONNECT", { network_name: "lan", group_name: "default" });
    await bed.succeed("OP_NETWORK_REMOVE", { network_name: "lan" });
    expect(bed.view.findNetwork("lan")).toBe(undefined);
    expect(bed.nodes.named(NODE1).guests.size).toBe(0);
  });
});

describe("OP_NETWORK_CONNECT", () => {
  beforeAll(async () => {
    await add("later", { network: "198.51.100.0/24", conflicts_check: false });
    await create("busy.gnt.test", [{ ip: "198.51.100.20" }]);
  });

  test("is refused while an instance of the group has an address of it, unless that is not to be checked", async () => {
    expect((await connect("later")).result).toEqual([
      "OpPrereqError",
      [expect.stringMatching(/connect to node group default.*busy.gnt.test: nic0\/198.51.100.20/), "wrong_state"],
    ]);
    expect((await connect("later", { conflicts_check: false })).status).toBe("success");
  });

  test.each([
    [{ network_name: "nosuch" }, "unknown_entity"],
    [{ group_name: "nosuch" }, "unknown_entity"],
    [{ network_mode: "pool" }, "wrong_input"],
    [{ network_link: "no such bridge" }, "wrong_input"],
    [{ network_vlan: "vlan" }, "wrong_input"],
  ])("refuses %j", async (params, code) => {
    expect((await connect("new", params)).result).toEqual(["OpPrereqError", [expect.any(String), code]]);
  });
});

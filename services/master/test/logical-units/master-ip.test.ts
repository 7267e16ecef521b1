/** The cluster's own address, and the nodes' names in their hosts files. */
import { NodeUnreachable, OpExecError } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import type { RunHooksRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { uuidOf } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const PLACE = { masterIp: "192.0.2.250", masterNetmask: 24, masterNetdev: "eth0", useExternalMipScript: false };
const UP = { address: "192.0.2.250", netmask: 24, netdev: "eth0" };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.calls.length = 0;
  bed.nodes.named(NODE1).masterAddresses.clear();
  await bed.setCluster({ ...PLACE, modifyEtcHosts: false });
});
afterEach(() => {
  for (const node of bed.nodes.all()) node.hosts = [];
});

const addresses = () => [...bed.nodes.named(NODE1).masterAddresses.values()];
const run = (id: string, params: Readonly<Record<string, unknown>> = {}) => bed.run(id, params);
const modify = (params: Readonly<Record<string, unknown>>) => run("OP_CLUSTER_SET_PARAMS", params);
const fail = (method: string) => {
  bed.nodes.failures = [{ node: NODE1, method: `node.${method}`, error: new OpExecError("no such device") }];
};

describe("OP_CLUSTER_ACTIVATE_MASTER_IP and its opposite", () => {
  test("put the address where the configuration says, on the master's node alone, and take it away", async () => {
    expect(await run("OP_CLUSTER_ACTIVATE_MASTER_IP")).toMatchObject({ status: "success", result: null });
    expect(addresses()).toEqual([UP]);
    await bed.succeed("OP_CLUSTER_ACTIVATE_MASTER_IP", {});
    expect(bed.nodes.all().flatMap(({ masterAddresses }) => [...masterAddresses])).toHaveLength(1);
    await bed.succeed("OP_CLUSTER_DEACTIVATE_MASTER_IP", {});
    expect(addresses()).toEqual([]);
  });

  test("say whether the site's script is to do it", async () => {
    await bed.setCluster({ useExternalMipScript: true });
    await bed.succeed("OP_CLUSTER_ACTIVATE_MASTER_IP", {});
    await bed.succeed("OP_CLUSTER_DEACTIVATE_MASTER_IP", {});
    const requests = bed.nodes.calls.filter(({ method }) => /MasterAddress/.test(method));
    expect(requests.map(({ request }) => request)).toMatchObject([
      { useExternalScript: true },
      { useExternalScript: true },
    ]);
  });

  test("fail with what the node says", async () => {
    fail("activateMasterAddress");
    expect(await run("OP_CLUSTER_ACTIVATE_MASTER_IP")).toMatchObject({
      status: "error",
      result: ["OpExecError", [expect.stringContaining("no such device")]],
    });
  });

  test("have hooks on the master's node that know them by Ganeti's names", async () => {
    await bed.succeed("OP_CLUSTER_ACTIVATE_MASTER_IP", {});
    await bed.succeed("OP_CLUSTER_DEACTIVATE_MASTER_IP", {});
    const hooks = bed.nodes.calls.filter(({ method }) => method === "node.runHooks");
    expect(hooks.map(({ node, request }) => [node, (request as RunHooksRequest).path])).toEqual([
      ...[1, 2].map(() => [NODE1, "master-ip-turnup"]),
      ...[1, 2].map(() => [NODE1, "master-ip-turndown"]),
    ]);
    expect((hooks[0]?.request as RunHooksRequest | undefined)?.environment).toMatchObject({
      ...{ GANETI_OP_CODE: "OP_CLUSTER_IP_TURNUP", GANETI_MASTER_NETDEV: "eth0" },
      ...{ GANETI_MASTER_IP: "192.0.2.250", GANETI_MASTER_NETMASK: "24", GANETI_CLUSTER_IP_VERSION: "4" },
    });
  });
});

describe("a change of where the address is", () => {
  beforeEach(async () => {
    await bed.succeed("OP_CLUSTER_ACTIVATE_MASTER_IP", {});
    bed.nodes.calls.length = 0;
  });

  test("moves it to the other interface, with the new netmask", async () => {
    expect((await modify({ master_netdev: "br1", master_netmask: 16 })).status).toBe("success");
    expect(addresses()).toEqual([{ ...UP, netmask: 16, netdev: "br1" }]);
    expect(bed.view.cluster).toMatchObject({ masterNetdev: "br1", masterNetmask: 16 });
  });

  test("changes the netmask alone without taking it down", async () => {
    await modify({ master_netmask: 16 });
    expect(addresses()).toEqual([{ ...UP, netmask: 16 }]);
    expect(bed.nodes.story("node.deactivateMasterAddress")).toEqual([]);
    bed.nodes.calls.length = 0;
    await modify({ master_netmask: 16 });
    expect(bed.nodes.story("node.changeMasterNetmask")).toEqual([]);
  });

  test("an empty interface, and other parameters, leave it where it is", async () => {
    await modify({ master_netdev: "", max_running_jobs: 5 });
    expect(bed.view.cluster).toMatchObject({ masterNetdev: "eth0", maxRunningJobs: 5 });
    expect(bed.nodes.story("node.activateMasterAddress", "node.deactivateMasterAddress")).toEqual([]);
  });

  test("that cannot be taken down fails, unless it is forced", async () => {
    fail("deactivateMasterAddress");
    expect((await modify({ master_netdev: "br1" })).status).toBe("error");
    expect(bed.view.cluster.masterNetdev).toBe("eth0");
    expect(addresses()).toEqual([UP]);
    const { log, status } = await modify({ master_netdev: "br1", force: true });
    expect(status).toBe("success");
    expect(log.join("\n")).toMatch(/WARNING: Could not disable the master IP: .*no such device/);
    expect(bed.view.cluster.masterNetdev).toBe("br1");
  });

  test("whose way down fails half-way brings it up again", async () => {
    bed.nodes.failures = [{ method: "node.deactivateMasterAddress", after: true }];
    expect((await modify({ master_netdev: "br1" })).status).toBe("error");
    expect(addresses()).toEqual([UP]);
  });

  test("that does not come up on the new interface, or has no new netmask, is told of and kept", async () => {
    fail("activateMasterAddress");
    const moved = await modify({ master_netdev: "br1" });
    expect(moved.status).toBe("success");
    expect(moved.log.join("\n")).toMatch(/WARNING: Could not re-enable the master IP/);
    fail("changeMasterNetmask");
    const { log, status } = await modify({ master_netmask: 8 });
    expect(status).toBe("success");
    expect(log.join("\n")).toMatch(/WARNING: Could not change the master IP's netmask/);
    expect(bed.view.cluster).toMatchObject({ masterNetdev: "br1", masterNetmask: 8 });
  });
});

describe("hosts files", () => {
  const LINES = ["192.0.2.1 node1.gnt.test", "192.0.2.2 node2.gnt.test", "192.0.2.3 node3.gnt.test"];
  const hostsOf = (name: string) => bed.nodes.named(name).hosts;

  test("name the nodes once the cluster keeps them, on every node", async () => {
    await modify({ modify_etc_hosts: true });
    expect(NODES.map(hostsOf)).toEqual([LINES, LINES, LINES]);
    expect(bed.view.cluster.modifyEtcHosts).toBe(true);
  });

  test("are told of a node that joins and of one that leaves", async () => {
    const name = "node4.gnt.test";
    bed.nodes.add(uuidOf<NodeUuid>(name), name, "198.51.100.4");
    bed.nodes.named(name).addresses.add("198.51.100.4");
    await bed.setCluster({ modifyEtcHosts: true });
    await bed.succeed("OP_NODE_ADD", { node_name: name, primary_ip: "192.0.2.4", secondary_ip: "198.51.100.4" });
    expect(hostsOf(NODE2)).toEqual([...LINES, "192.0.2.4 node4.gnt.test"]);
    await bed.succeed("OP_NODE_REMOVE", { node_name: name });
    expect(hostsOf(NODE2)).toEqual(LINES);
  });

  test("are told again by redistribution; offline nodes are passed over, others that fail are told of", async () => {
    await bed.setCluster({ modifyEtcHosts: true });
    await bed.setNode(NODE3, { offline: true });
    bed.nodes.failures = [{ node: NODE2, method: "node.setHosts", error: new NodeUnreachable(NODE2, "no answer") }];
    const { log } = await bed.succeed("OP_CLUSTER_REDIST_CONF", {});
    await bed.setNode(NODE3, { offline: false });
    expect([hostsOf(NODE1), hostsOf(NODE2), hostsOf(NODE3)]).toEqual([LINES, [], []]);
    expect(log.join("\n")).toMatch(/WARNING: The hosts file of node node2.gnt.test was not changed: .*no answer/);
    expect(log.join("\n")).not.toContain(NODE3);
  });

  test("are told again when a node comes back from offline", async () => {
    await bed.setCluster({ modifyEtcHosts: true });
    await bed.setNode(NODE3, { offline: true });
    await bed.succeed("OP_NODE_SET_PARAMS", { node_name: NODE3, offline: false });
    expect(hostsOf(NODE3)).toEqual(LINES);
  });

  test("are left alone without modify_etc_hosts", async () => {
    await bed.succeed("OP_CLUSTER_REDIST_CONF", {});
    await modify({ modify_etc_hosts: false });
    expect(bed.nodes.story("node.setHosts")).toEqual([]);
  });
});

/** Nodes whose parameters ask for an Open vSwitch: OP_NODE_SET_PARAMS and OP_NODE_ADD. */
import { OpExecError } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.calls.length = 0;
  await bed.setNode(NODE2, { ndparams: {}, offline: false });
});

const modify = (ndparams: object) => bed.run("OP_NODE_SET_PARAMS", { node_name: NODE2, ndparams });
const asked = () =>
  bed.nodes.calls
    .filter(({ method }) => method === "node.configureOpenvswitch")
    .map(({ node, request }) => ({ node, ...(request as { readonly name: string; readonly link: string }) }));

test("is set up when the node's parameters ask for it, and not for others", async () => {
  await modify({ ovs: true, ovs_link: "eth1" });
  expect(asked()).toMatchObject([{ node: NODE2, name: "switch1", link: "eth1" }]);
  await modify({ spindle_count: 2 });
  expect(asked()).toHaveLength(1);
  expect((await modify({ ovs_name: "inner", ovs_link: "" })).log.join("\n")).toContain("has no link (ovs_link)");
  expect(asked()[1]).toMatchObject({ name: "inner", link: "" });
  await modify({ ovs: false });
  expect(asked()).toHaveLength(2);
});

test("is set up on the first node when the cluster has been made", async () => {
  await bed.setNode(NODE1, { ndparams: { ovs: true, ovs_link: "eth0" } });
  await bed.succeed("OP_CLUSTER_POST_INIT", {});
  await bed.setNode(NODE1, { ndparams: {} });
  expect(asked()).toMatchObject([{ node: NODE1, name: "switch1", link: "eth0" }]);
});

test("that cannot be set up leaves the node's parameters as they were", async () => {
  const error = new OpExecError("no luck");
  bed.nodes.failures = [{ node: NODE2, method: "node.configureOpenvswitch", error }];
  expect((await modify({ ovs: true })).status).toBe("error");
  expect(bed.view.findNode(NODE2)?.ndparams).toEqual({});
});

test("is set up on a node that joins, by the parameters that it is given", async () => {
  await bed.succeed("OP_NODE_REMOVE", { node_name: NODE3 });
  bed.nodes.named(NODE3).addresses.add("198.51.100.3");
  await bed.succeed("OP_NODE_ADD", {
    ...{ node_name: NODE3, primary_ip: "192.0.2.3", secondary_ip: "198.51.100.3" },
    ndparams: { ovs: true, ovs_link: "eth2" },
  });
  expect(asked()).toMatchObject([{ node: NODE3, name: "switch1", link: "eth2" }]);
});

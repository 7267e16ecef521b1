/** Where the site's hooks of operations on nodes run, and what they are told (spec/os-iallocator-hooks.json, `hooks`). */
import type { NodeUuid } from "@gannet/objects";
import type { RunHooksRequest } from "@gannet/rpc";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { uuidOf } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NEW = "node4.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.nodes.add(uuidOf<NodeUuid>(NEW), NEW, "198.51.100.4");
  bed.nodes.named(NEW).addresses.add("198.51.100.4");
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(() => {
  bed.nodes.calls.length = 0;
});

/** Those of one phase: their nodes, and what the first of them was told. */
function hooks(path: string, phase: "pre" | "post") {
  const calls = bed.nodes.calls
    .filter(({ method }) => method === "node.runHooks")
    .map(({ node, request }) => ({ node, request: request as RunHooksRequest }))
    .filter(({ request }) => request.path === path && request.phase === phase);
  return { nodes: calls.map(({ node }) => node).sort(), environment: calls[0]?.request.environment };
}

test("node-modify: on the master and on the node", async () => {
  await bed.succeed("OP_NODE_SET_PARAMS", { node_name: NODE2, drained: true, vm_capable: true });
  const asked = { OP_TARGET: NODE2, DRAINED: "True", OFFLINE: "None", VM_CAPABLE: "True", MASTER_CANDIDATE: "None" };
  const environment = Object.fromEntries(Object.entries(asked).map(([name, value]) => [`GANETI_${name}`, value]));
  const wanted = { nodes: [NODE1, NODE2], environment: expect.objectContaining(environment) };
  expect(hooks("node-modify", "pre")).toEqual(wanted);
  expect(hooks("node-modify", "post")).toEqual(wanted);
  await bed.setNode(NODE2, { drained: false });
});

test("node-migrate: on the master", async () => {
  await bed.succeed("OP_NODE_MIGRATE", { node_name: NODE2, allow_runtime_changes: false });
  expect(hooks("node-migrate", "pre")).toEqual({
    nodes: [NODE1],
    environment: expect.objectContaining({ GANETI_NODE_NAME: NODE2, GANETI_ALLOW_RUNTIME_CHANGES: "False" }),
  });
  expect(hooks("node-migrate", "post").nodes).toEqual([NODE1]);
});

test("node-add and node-remove: on all the others", async () => {
  await bed.succeed("OP_NODE_ADD", { node_name: NEW, primary_ip: "192.0.2.4", secondary_ip: "198.51.100.4" });
  expect(hooks("node-add", "pre")).toEqual({
    nodes: [NODE1, NODE2, NODE3],
    environment: expect.objectContaining({
      ...{ GANETI_OP_TARGET: NEW, GANETI_NODE_NAME: NEW, GANETI_NODE_PIP: "192.0.2.4", GANETI_OBJECT_TYPE: "NODE" },
      ...{ GANETI_NODE_SIP: "198.51.100.4", GANETI_MASTER_CAPABLE: "True", GANETI_VM_CAPABLE: "True" },
    }),
  });
  const added = bed.view.findNode(NEW);
  if (added === undefined) throw new Error("it was not added");
  bed.nodes.add(added.uuid, NEW, "198.51.100.4");
  await bed.succeed("OP_NODE_REMOVE", { node_name: NEW });
  for (const phase of ["pre", "post"] as const)
    expect(hooks("node-remove", phase).nodes).toEqual([NODE1, NODE2, NODE3]);
});

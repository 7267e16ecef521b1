/** The end of a cluster, and what is refused after it. */
import type { RunHooksRequest } from "@gannet/rpc";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const DESTROYED = ["OpPrereqError", [expect.stringMatching(/cluster.gnt.test has been destroyed/), "wrong_state"]];

let bed: LogicalUnitBed;
beforeEach(async () => {
  bed = await startLogicalUnitBed();
});
afterEach(() => bed[Symbol.asyncDispose]());

async function leaveOnlyTheMaster(): Promise<void> {
  for (const node_name of [NODE2, NODE3]) await bed.succeed("OP_NODE_REMOVE", { node_name });
  bed.nodes.calls.length = 0;
}

test("is refused while there are other nodes or instances, which are named", async () => {
  expect((await bed.run("OP_CLUSTER_DESTROY", {})).result).toEqual([
    "OpPrereqError",
    [`There are still 2 node(s) in this cluster: remove them first (${NODE2}, ${NODE3})`, "wrong_input"],
  ]);
  await leaveOnlyTheMaster();
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: "web1", mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [] },
    ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake", ignore_ipolicy: true },
  });
  expect((await bed.run("OP_CLUSTER_DESTROY", {})).result).toEqual([
    "OpPrereqError",
    [expect.stringMatching(/1 instance\(s\).*web1/), "wrong_input"],
  ]);
  expect(bed.view.cluster.destroyed).toBe(false);
});

test("takes the cluster's address down, tells hooks afterwards, and answers the master's UUID", async () => {
  await leaveOnlyTheMaster();
  await bed.succeed("OP_CLUSTER_ACTIVATE_MASTER_IP", {});
  bed.nodes.calls.length = 0;
  expect((await bed.succeed("OP_CLUSTER_DESTROY", {})).result).toBe(bed.uuidOf(NODE1));
  expect(bed.nodes.named(NODE1).masterAddresses.size).toBe(0);
  const hooks = bed.nodes.calls.filter(({ method }) => method === "node.runHooks");
  expect(hooks.map(({ request }) => request as RunHooksRequest).map(({ path, phase }) => `${path}-${phase}`)).toEqual([
    "cluster-destroy-post",
    "config-update-post",
  ]);
});

test("an address that cannot be taken down does not keep it; then every opcode is refused", async () => {
  await leaveOnlyTheMaster();
  bed.nodes.failures = [{ method: "node.deactivateMasterAddress" }];
  const { log } = await bed.succeed("OP_CLUSTER_DESTROY", {});
  expect(log.join("\n")).toMatch(/WARNING: The cluster's address .* was not taken down/);
  const before = bed.view.serial;
  for (const [id, params] of [
    ["OP_CLUSTER_DESTROY", {}],
    ["OP_GROUP_ADD", { group_name: "late" }],
    ["OP_CLUSTER_SET_PARAMS", { max_running_jobs: 3 }],
    ["OP_TEST_DELAY", { duration: 0 }],
  ] as const)
    expect((await bed.run(id, params)).result, id).toEqual(DESTROYED);
  expect(bed.view.serial).toBe(before);
});

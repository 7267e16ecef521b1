/** The site's hooks around operations: where they run, what they are told, and what their refusal does. */
import { NodeUnreachable } from "@gannet/errors";
import { drbdIdOf } from "@gannet/objects";
import { EPOCH_KEY } from "@gannet/redis";
import type { RunHooksRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const INSTANCE = { instance_name: NAME };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
afterEach(async () => {
  bed.nodes.failures = [];
  for (const node of NODES) {
    bed.nodes.named(node).hooks = () => [];
    await bed.setNode(node, { offline: false });
  }
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

const create = (more: Readonly<Record<string, unknown>> = {}) => ({
  ...{ ...INSTANCE, mode: "create", disk_template: "drbd", disks: [{ size: 1024 }], os_type: "noop" },
  ...{ nics: [{}], pnode: NODE1, snode: NODE2, hypervisor: "fake", tags: ["green"], ...more },
});
const asked = () =>
  bed.nodes.calls
    .filter(({ method }) => method === "node.runHooks")
    .map(({ node, request }) => ({ node, ...(request as RunHooksRequest) }));
const places = () => asked().map(({ node, path, phase }) => `${path}-${phase} ${node}`);
const told = (path: string, phase: string) => asked().find((each) => each.path === path && each.phase === phase);

function refuse(node: string, path: string, phase = "pre"): void {
  bed.nodes.named(node).hooks = (run) =>
    run.path === path && run.phase === phase
      ? [
          { script: `${path}-${phase}.d/10-ok`, status: "success", output: "" },
          { script: `${path}-${phase}.d/20-no`, status: "fail", output: "no licence left" },
        ]
      : [];
}

test("run on the nodes that Ganeti names, before and after, and on the master when the configuration changed", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", create());
  expect(places().toSorted()).toEqual(
    [
      `config-update-post ${NODE1}`,
      `instance-add-post ${NODE1}`,
      `instance-add-post ${NODE2}`,
      `instance-add-pre ${NODE1}`,
      `instance-add-pre ${NODE2}`,
    ].toSorted(),
  );
  const story = bed.nodes.story();
  const last = story.findLastIndex((line) => line.includes("instances.start"));
  expect(story.findIndex((line) => line.includes("runHooks"))).toBeLessThan(
    story.findIndex((l) => l.includes(" create ")),
  );
  expect(story.findIndex((line, index) => index > last && line.includes("runHooks"))).toBeGreaterThan(last);
});

test("are told of the instance, and afterwards how it is now, in Ganeti's words", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", create());
  const before = told("instance-add", "pre")?.environment;
  expect(before).toMatchObject({
    GANETI_HOOKS_VERSION: "2",
    GANETI_HOOKS_PHASE: "pre",
    GANETI_HOOKS_PATH: "instance-add",
    GANETI_OP_CODE: "OP_INSTANCE_CREATE",
    GANETI_OBJECT_TYPE: "INSTANCE",
    GANETI_MASTER: NODE1,
    GANETI_CLUSTER: bed.view.cluster.name,
    GANETI_INSTANCE_NAME: NAME,
    GANETI_INSTANCE_PRIMARY: NODE1,
    GANETI_INSTANCE_SECONDARIES: NODE2,
    GANETI_INSTANCE_STATUS: "down",
    GANETI_INSTANCE_NIC_COUNT: "1",
    GANETI_INSTANCE_NIC0_MAC: "auto",
    GANETI_INSTANCE_NIC0_IP: "",
    GANETI_INSTANCE_DISK_COUNT: "1",
    GANETI_INSTANCE_DISK0_SIZE: "1024",
    GANETI_INSTANCE_TAGS: "green",
    GANETI_INSTANCE_BE_auto_balance: "True",
    GANETI_ADD_MODE: "create",
  });
  expect(Object.keys(before ?? {}).filter((name) => name.startsWith("GANETI_POST_"))).toEqual([]);
  const [disk] = bed.disks(NAME);
  expect(told("instance-add", "post")?.environment).toMatchObject({
    GANETI_HOOKS_PHASE: "post",
    GANETI_INSTANCE_STATUS: "down",
    GANETI_POST_INSTANCE_STATUS: "up",
    GANETI_POST_INSTANCE_NIC0_MAC: bed.instance(NAME).nics[0]?.mac,
    GANETI_POST_INSTANCE_DISK0_DATA_ID: disk?.children[0]?.logicalId[1],
  });
  if (disk === undefined) throw new Error("no disk");
  expect(JSON.stringify(asked())).not.toContain(drbdIdOf(disk).secret);
});

test("that refuse end the operation before anything is done, and all of them are told", async () => {
  refuse(NODE1, "instance-add");
  refuse(NODE2, "instance-add");
  const { result } = await bed.run("OP_INSTANCE_CREATE", create());
  expect(result).toEqual([
    "HooksAbort",
    [
      [
        [NODE1, "instance-add-pre.d/20-no", "no licence left"],
        [NODE2, "instance-add-pre.d/20-no", "no licence left"],
      ],
    ],
  ]);
  expect(bed.view.findInstance(NAME)).toBeUndefined();
  expect(bed.nodes.story("create")).toEqual([]);
});

test("of a dry run are asked before, and not told after", async () => {
  refuse(NODE2, "instance-add");
  expect((await bed.run("OP_INSTANCE_CREATE", create({ dry_run: true }))).result).toMatchObject(["HooksAbort", {}]);
  bed.nodes.named(NODE2).hooks = () => [];
  bed.nodes.calls.length = 0;
  await bed.succeed("OP_INSTANCE_CREATE", create({ dry_run: true }));
  expect(places().filter((place) => place.includes("post"))).toEqual([]);
});

test("that fail afterwards are told in the job's log, and the operation has succeeded", async () => {
  refuse(NODE2, "instance-add", "post");
  const { log } = await bed.succeed("OP_INSTANCE_CREATE", create());
  expect(log.join("\n")).toMatch(/Hook instance-add-post.d\/20-no on node node2.* failed: no licence left/);
  expect(bed.instance(NAME).adminState).toBe("up");
});

test("of nodes that are offline or silent are passed over; when no node answers the operation fails", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", create());
  await bed.setNode(NODE2, { offline: true });
  bed.nodes.failures = [{ node: NODE1, method: "node.runHooks", times: 1, error: new NodeUnreachable(NODE1, "down") }];
  const { result } = await bed.run("OP_INSTANCE_REBOOT", { ...INSTANCE, reboot_type: "soft" });
  expect(result).toMatchObject(["HooksFailure", [expect.stringMatching(/No node answered/)]]);
  bed.nodes.failures = [];
  bed.nodes.calls.length = 0;
  await bed.succeed("OP_INSTANCE_REBOOT", { ...INSTANCE, reboot_type: "soft" });
  expect(places().every((place) => !place.includes(NODE2))).toBe(true);
});

test("of a removed instance still know what it was, on the nodes where it was", async () => {
  await bed.succeed("OP_INSTANCE_CREATE", create());
  bed.nodes.calls.length = 0;
  await bed.succeed("OP_INSTANCE_REMOVE", { ...INSTANCE, shutdown_timeout: 0 });
  expect(places().toSorted()).toEqual(
    [
      `config-update-post ${NODE1}`,
      `instance-remove-post ${NODE1}`,
      `instance-remove-post ${NODE2}`,
      `instance-remove-pre ${NODE1}`,
    ].toSorted(),
  );
  expect(told("instance-remove", "post")?.environment.GANETI_INSTANCE_NAME).toBe(NAME);
});

test("are not run around what only reads, or for what a prerequisite refuses", async () => {
  await bed.run("OP_INSTANCE_STARTUP", INSTANCE);
  await bed.succeed("OP_INSTANCE_QUERY_DATA", { instances: [], static: true });
  expect(places()).toEqual([]);
});

test("that still run when the leader dies leave nothing to undo: the operation has done its work", async () => {
  await using own = await startLogicalUnitBed();
  const { promise: toldNow, resolve: told } = Promise.withResolvers<void>();
  const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
  own.nodes.onCall = async ({ method, request }) => {
    if (method !== "node.runHooks" || (request as RunHooksRequest).phase !== "post") return;
    told();
    await mayEnd;
  };
  const job = own.run("OP_INSTANCE_CREATE", create());
  job.catch(() => {});
  await toldNow;
  await own.redis.client.set(EPOCH_KEY, 2);
  const [leftover] = await own.ledger.takeOver({ epoch: 2 });
  const { adminState } = own.instance(NAME);
  end();
  await own.ledger.fail(leftover?.job.id ?? 0, 0, ["OpExecError", ["over"]], { epoch: 2 });
  await job;
  expect(leftover).toMatchObject({ opcodeIndex: 0, undo: [] });
  expect(adminState).toBe("up");
});

/** Guests that ended by themselves, as all of a node do when it loses its power: they do not run, and can be started. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { guest } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1] = NODES;
const NAME = "web1.gnt.test";
const INSTANCE = { instance_name: NAME };

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());
beforeEach(async () => {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...INSTANCE, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}], os_type: "noop" },
    ...{ pnode: NODE1, hypervisor: "fake" },
  });
  bed.live.noteInstance(bed.uuidOf(NODE1), guest(NAME, { status: "crashed" }));
  bed.nodes.calls.length = 0;
});
afterEach(async () => {
  await bed.succeed("OP_INSTANCE_REMOVE", { ...INSTANCE, shutdown_timeout: 0 });
});

const story = () => bed.nodes.story("instances.stop", "instances.start").map((line) => line.split(" ")[1]);

test.each([
  ["OP_INSTANCE_STARTUP", {}],
  ["OP_INSTANCE_REBOOT", { reboot_type: "soft" }],
  ["OP_INSTANCE_REBOOT", { reboot_type: "hard" }],
])("%s %j starts them, after what is left of them is gone", async (id, more) => {
  const { log } = await bed.succeed(id, { ...INSTANCE, ...more });
  expect(story()).toEqual(["instances.stop", "instances.start"]);
  expect(log.join("\n")).toContain("had crashed");
  expect(bed.live.instance(NAME, bed.uuidOf(NODE1))?.state.status).toBe("running");
});

test("a second start of one that runs does nothing", async () => {
  await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  bed.nodes.calls.length = 0;
  expect((await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE)).log.join("\n")).toContain("running already");
  expect(story()).toEqual([]);
});

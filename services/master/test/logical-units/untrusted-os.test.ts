/** OS definitions that can only be installed from inside a guest are refused before anything is made. */
import type { LiveStateUpdate } from "@gannet/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { snapshot } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1] = NODES;
const NAME = "web1.gnt.test";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  bed.live.apply(bed.uuidOf(NODE1), withUntrusted(snapshot(NODE1)));
});
afterAll(() => bed[Symbol.asyncDispose]());

/** The node's first definition, once more without a trusted script. */
function withUntrusted({ update }: LiveStateUpdate): LiveStateUpdate {
  if (update?.$case !== "snapshot") throw new Error("no snapshot");
  const os = update.value.os.flatMap((each, index) => (index > 0 ? [] : [{ ...each, name: "inside", trusted: false }]));
  return { update: { ...update, value: { ...update.value, os: [...update.value.os, ...os] } } };
}

const create = (more: object = {}) => ({
  ...{ instance_name: NAME, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}] },
  ...{ os_type: "inside+v1", pnode: NODE1, hypervisor: "fake", ...more },
});
const REFUSED = ["OpPrereqError", [expect.stringContaining("create_untrusted"), "wrong_input"]];

test("at a creation, unless nothing is to be installed, and at a reinstallation", async () => {
  expect((await bed.run("OP_INSTANCE_CREATE", create())).result).toEqual(REFUSED);
  expect(bed.nodes.calls.filter(({ method }) => method === "create")).toEqual([]);
  await bed.succeed("OP_INSTANCE_CREATE", create({ no_install: true }));
  expect((await bed.run("OP_INSTANCE_REINSTALL", { instance_name: NAME })).result).toEqual(REFUSED);
});

/** Parameters by which a node can be made to run any program take a right of their own, wherever they stand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Call, type RapiTestbed, startRapiTestbed, USERS } from "./rapi-testbed.ts";

let bed: RapiTestbed;
let ganeti: RapiTestbed;
beforeAll(async () => {
  const users = `${USERS}root {cleartext}toor write,root\n`;
  [bed, ganeti] = await Promise.all([startRapiTestbed({ users }), startRapiTestbed({ rootParameters: "write" })]);
});
afterAll(async () => {
  await bed[Symbol.asyncDispose]();
  await ganeti[Symbol.asyncDispose]();
});

const AS_ROOT: Call = {
  user: null,
  headers: { Authorization: `Basic ${Buffer.from("root:toor").toString("base64")}` },
};
const creation = {
  ...{ mode: "create", instance_name: "new.gnt.test", os_type: "noop", pnode: "node1.gnt.test" },
  ...{ disk_template: "diskless", disks: [], nics: [] },
};
const MODIFY = "/2/instances/inst1.gnt.test/modify";

test.for([
  ["PUT", MODIFY, { hvparams: { kvm_extra: "-device x" } }, "hvparams/kvm_extra"],
  ["PUT", MODIFY, { hvparams: { kvm_path: "/tmp/kvm" } }, "hvparams/kvm_path"],
  ["PUT", MODIFY, { hvparams: { kernel_path: "/home/me/kernel" } }, "hvparams/kernel_path"],
  ["PUT", MODIFY, { hvparams: { initrd_path: "/etc/shadow" } }, "hvparams/initrd_path"],
  ["PUT", MODIFY, { hvparams: { cdrom_image_path: "/dev/sda" } }, "hvparams/cdrom_image_path"],
  ["PUT", MODIFY, { hvparams: { kernel_path: "/boot/../etc/shadow" } }, "hvparams/kernel_path"],
  ["PUT", MODIFY, { hvparams: { kernel_path: "/bootleg/kernel" } }, "hvparams/kernel_path"],
  ["PUT", MODIFY, { hvparams: { device_model: "/tmp/dm", drop_capabilities: "" } }, "hvparams/drop_capabilities"],
  ["PUT", MODIFY, { hvparams: { extra_config: "lxc.hook.start-host = /tmp/a" } }, "hvparams/extra_config"],
  ["POST", "/2/instances", { __version__: 1, ...creation, hvparams: { vif_script: "/tmp/a" } }, "hvparams/vif_script"],
  [
    "POST",
    "/2/instances-multi-alloc",
    { instances: [creation, { ...creation, hvparams: { kvm_extra: "-x" } }] },
    "instances/1/hvparams/kvm_extra",
  ],
  ["PUT", "/2/modify", { hvparams: { kvm: { kvm_path: "/tmp/kvm" } } }, "hvparams/kvm/kvm_path"],
  ["PUT", "/2/modify", { os_hvp: { noop: { kvm: { kvm_extra: "-x" } } } }, "os_hvp/noop/kvm/kvm_extra"],
  [
    "POST",
    "/2/opcodes/OP_INSTANCE_STARTUP",
    { instance_name: "inst1.gnt.test", hvparams: { kvm_extra: "-x" } },
    "hvparams/kvm_extra",
  ],
  ["POST", "/2/opcodes/OP_CLUSTER_SET_PARAMS", { compression_tools: ["python3"] }, "compression_tools"],
  ["PUT", "/2/modify", { drbd_helper: "/tmp/helper" }, "drbd_helper"],
  ["PUT", "/2/modify", { ndparams: { oob_program: "/tmp/oob" } }, "ndparams/oob_program"],
  ["PUT", "/2/groups/default/modify", { ndparams: { oob_program: "/tmp/oob" } }, "ndparams/oob_program"],
  ["POST", "/2/nodes/node1.gnt.test/modify", { ndparams: { oob_program: "/tmp/oob" } }, "ndparams/oob_program"],
] as const)("%s %s with %j", async ([method, path, json, named]) => {
  const refused = await bed.call(method, path, { json });
  expect(refused.json).toMatchObject({ code: 403, message: expect.stringContaining(named) });
  expect(refused.text).toContain("the option root");
  const taken = await bed.call(method, path, { ...AS_ROOT, json });
  expect(taken.status, taken.text).toBe(200);
  const asInGaneti = await ganeti.call(method, path, { json });
  expect(asInGaneti.status, asInGaneti.text).toBe(200);
});

test.for([
  [{ kvm_extra: "default" }],
  [{ kvm_extra: "" }],
  [{ kvm_path: "/usr/bin/kvm" }],
  [{ kernel_path: "" }],
  [{ kernel_path: "/boot/vmlinuz-6.1", initrd_path: "/boot/initrd.img-6.1" }],
  [{ kernel_path: "/usr/lib/xen/boot/hvmloader" }],
  [{ cdrom_image_path: "https://images.example.com/a.iso" }],
  [{ boot_order: "cdrom", constructor: "x" }],
])("anybody who may write may set %j", async ([hvparams]) => {
  const reply = await bed.call("PUT", MODIFY, { json: { hvparams } });
  expect(reply.status, reply.text).toBe(200);
});

test("so does a token by which a machine joins as a master, for that one is given the cluster's keys", async () => {
  const json = { node_name: "node9.gnt.test", role: "master" };
  expect(await bed.call("POST", "/2/join-tokens", { json })).toMatchObject({ status: 403 });
  // This master takes part in no joining, which it says to who may ask.
  expect((await bed.call("POST", "/2/join-tokens", { ...AS_ROOT, json })).status).not.toBe(403);
  const asNode = { ...json, role: "node" };
  expect((await bed.call("POST", "/2/join-tokens", { json: asNode })).status).not.toBe(403);
  // What its node is given is set by the one who makes the token.
  const withProgram = { ...asNode, ndparams: { oob_program: "/bin/sh" } };
  expect((await bed.call("POST", "/2/join-tokens", { json: withProgram })).status).toBe(403);
  expect((await bed.call("POST", "/2/join-tokens", { ...AS_ROOT, json: withProgram })).status).not.toBe(403);
});

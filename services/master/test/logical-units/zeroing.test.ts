/** OP_BACKUP_EXPORT with `zero_free_space`: a machine is booted over the instance's disks, and ends by itself. */
import { BlockDeviceError, HypervisorError } from "@gannet/errors";
import type { Instance as InstanceMessage } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2, NODE3] = NODES;
const NAME = "web1.gnt.test";
const IMAGE = "/srv/images/zeroing.raw";
const MIB = 1024 * 1024;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed({ zeroingImage: IMAGE });
  bed.nodes.named(NODE1).images.set(IMAGE, 2 * MIB + 512);
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.onCall = undefined;
  await bed.setCluster({ zeroingImage: IMAGE });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

async function create(more: Readonly<Record<string, unknown>> = {}): Promise<void> {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ instance_name: NAME, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}] },
    ...{ os_type: "noop", pnode: NODE1, hypervisor: "fake", hvparams: {}, ...more },
  });
  bed.nodes.calls.length = 0;
}

const exportation = (more: Readonly<Record<string, unknown>> = {}) => ({
  ...{ instance_name: NAME, target_node: NODE3, zero_free_space: true, ...more },
});

/** The machine does its work, and ends before anybody looks at it. */
function endingByItself(): void {
  bed.nodes.onCall = async ({ method }) => {
    if (method === "instances.state") bed.nodes.named(NODE1).guests.delete(NAME);
  };
}

const story = () =>
  bed.nodes
    .story("create", "writeImage", "instances.start", "instances.stop", "remove", "snapshot", "transfers.startExport")
    .map((line) => line.replace(".gnt.test", ""));

describe("a running instance", () => {
  test("is stopped, its disks are worked on by the image's machine, it starts again, and is exported", async () => {
    await create();
    endingByItself();
    const { log } = await bed.succeed("OP_BACKUP_EXPORT", exportation());
    expect(story()).toEqual([
      "node1 instances.stop /0",
      "node1 create plain/1",
      "node1 writeImage plain/1",
      "node1 instances.start /0",
      "node1 instances.stop /0",
      "node1 remove plain/1",
      "node1 snapshot plain/0",
      "node1 instances.start /0",
      "node1 transfers.startExport /0",
      "node1 remove plain/0",
    ]);
    const [helper, again] = bed.nodes.calls
      .filter(({ method }) => method === "instances.start")
      .map(({ request }) => (request as { readonly instance: InstanceMessage }).instance);
    expect(
      helper?.disks.map(({ sizeMib }) => sizeMib),
      "its own disk first",
    ).toEqual([3, 1024]);
    expect(helper?.nics).toEqual([]);
    expect(again).toMatchObject({ disks: [{ sizeMib: 1024 }], nics: [{ mac: expect.any(String) }] });
    expect(log.join("\n")).toContain("overwriting unused space");
    expect([...bed.view.disks.values()], "nothing of it is in the configuration").toHaveLength(1);
  });

  test("of kvm boots the image and nothing that the instance would", async () => {
    await create({
      hypervisor: "kvm",
      hvparams: { kernel_path: "/boot/vmlinuz", boot_order: "cdrom", cdrom_image_path: "/srv/cd.iso" },
    });
    endingByItself();
    await bed.succeed("OP_BACKUP_EXPORT", exportation());
    const started = bed.nodes.calls.find(({ method }) => method === "instances.start");
    const asked = started?.request as { readonly instance: InstanceMessage } | undefined;
    const value = (name: string) => asked?.instance.hvparams[name]?.value?.value;
    expect(["kernel_path", "cdrom_image_path", "boot_order", "reboot_behavior"].map(value)).toEqual([
      ...["", "", "disk", "exit"],
    ]);
  });
});

test("a stopped instance with a mirrored disk is worked on where it is, and its disks are let go after it", async () => {
  await create({ disk_template: "drbd", snode: NODE2, start: false });
  await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", { instance_name: NAME });
  bed.nodes.calls.length = 0;
  endingByItself();
  await bed.succeed("OP_BACKUP_EXPORT", exportation());
  expect(bed.instance(NAME)).toMatchObject({ adminState: "down", disksActive: false });
  expect(bed.nodes.named(NODE1).ends.size + bed.nodes.named(NODE2).ends.size).toBe(0);
});

test("a machine that does not end in time is killed, and the instance runs as before", async () => {
  await create();
  const limits = { zeroing_timeout_fixed: 0, zeroing_timeout_per_mib: 0.0001 };
  const { status, result } = await bed.run("OP_BACKUP_EXPORT", exportation(limits));
  expect(status).toBe("error");
  expect(result).toMatchObject([
    "OpExecError",
    [expect.stringMatching(/did not end within 0 s; the machine is killed/)],
  ]);
  expect(bed.nodes.named(NODE1).guests).toEqual(new Set([NAME]));
  const last = bed.nodes.calls.findLast(({ method }) => method === "instances.start");
  expect(last?.request).toMatchObject({ instance: { disks: [{ sizeMib: 1024 }] } });
  expect(bed.nodes.named(NODE1).volumes.size).toBe(1);
});

test.each([
  ["create", new BlockDeviceError("no room")],
  ["writeImage", new BlockDeviceError("no luck")],
  ["instances.start", new HypervisorError("no luck")],
  ["instances.state", new HypervisorError("no luck")],
])("a failure at %s leaves the instance running, and nothing else", async (method, error) => {
  await create();
  bed.nodes.failures = [{ node: NODE1, method, error, times: 1 }];
  expect((await bed.run("OP_BACKUP_EXPORT", exportation())).status).toBe("error");
  expect(bed.nodes.named(NODE1).guests).toEqual(new Set([NAME]));
  expect(bed.nodes.named(NODE1).volumes.size).toBe(1);
});

test("an instance that was started again is not stopped because its export fails after that", async () => {
  await create();
  endingByItself();
  bed.nodes.failures = [{ node: NODE1, method: "transfers.startExport", error: new BlockDeviceError("no luck") }];
  expect((await bed.run("OP_BACKUP_EXPORT", exportation())).status).toBe("error");
  const stops = bed.nodes.calls.filter(({ method }) => method === "instances.stop");
  expect(stops, "itself, and the machine").toHaveLength(2);
});

test.each([
  [{ shutdown: false }, "wrong_input", /only while it is shut down/],
  [{ zero_free_space: false, zeroing_timeout_fixed: 5 }, "wrong_input", /zeroing_timeout_fixed is for exports/],
  [{ zeroing_timeout_per_mib: -1 }, "wrong_input", /must not be below 0/],
])("%j is refused as %s", async (params, code, words) => {
  await create();
  const { result } = await bed.run("OP_BACKUP_EXPORT", exportation(params));
  expect(result).toMatchObject(["OpPrereqError", [expect.stringMatching(words), code]]);
  expect(story()).toEqual([]);
});

test("a cluster without an image, and a node without it, refuse", async () => {
  await create();
  await bed.setCluster({ zeroingImage: "" });
  const none = await bed.run("OP_BACKUP_EXPORT", exportation());
  expect(none.result).toMatchObject(["OpPrereqError", [expect.stringContaining("zeroing_image"), "wrong_state"]]);
  await bed.setCluster({ zeroingImage: "/srv/images/other.raw" });
  const other = await bed.run("OP_BACKUP_EXPORT", exportation());
  expect(other.result).toMatchObject(["OpPrereqError", [expect.anything(), "environment_error"]]);
  expect(story()).toEqual([]);
});

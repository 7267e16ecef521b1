/** OS definitions whose only create script is untrusted: a machine of the cluster's `install_image` runs it. */
import { once } from "node:events";
import { BlockDeviceError, HypervisorError, OpExecError } from "@gannet/errors";
import { decodeParameters, type Instance, type LiveStateUpdate } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { snapshot } from "../rapi/cluster-fixture.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const IMAGE = "/srv/images/installer.raw";
const SECRET = "nobody-may-see-this";
const MIB = 1024 * 1024;

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
  const node = bed.nodes.named(NODE1);
  node.images.set(IMAGE, 2 * MIB);
  bed.live.apply(bed.uuidOf(NODE1), withUntrusted(snapshot(NODE1)));
});
afterAll(() => bed[Symbol.asyncDispose]());

beforeEach(async () => {
  await bed.setCluster({ installImage: IMAGE });
  bed.nodes.onCall = endingByItself;
});
afterEach(async () => {
  bed.nodes.failures = [];
  bed.nodes.onCall = undefined;
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

/** The node's first definition, once more without a trusted script. */
function withUntrusted({ update }: LiveStateUpdate): LiveStateUpdate {
  if (update?.$case !== "snapshot") throw new Error("no snapshot");
  const os = update.value.os.flatMap((each, index) => (index > 0 ? [] : [{ ...each, name: "inside", trusted: false }]));
  return { update: { ...update, value: { ...update.value, os: [...update.value.os, ...os] } } };
}

/** The machine does its work, and ends before anybody looks at it. */
async function endingByItself({ method }: { readonly method: string }): Promise<void> {
  if (method === "instances.state") bed.nodes.named(NODE1).guests.delete(NAME);
}

const creation = (more: object = {}) => ({
  ...{ instance_name: NAME, mode: "create", disk_template: "plain", disks: [{ size: 1024 }], nics: [{}] },
  ...{ os_type: "inside+v1", pnode: NODE1, hypervisor: "fake", ...more },
});
const create = (more: object = {}) => bed.run("OP_INSTANCE_CREATE", creation(more));

const story = () =>
  bed.nodes
    .story(
      ...["create", "os.create", "os.prepareInstallation", "writeImage", "instances.start", "instances.stop"],
      ...["remove", "os.finishInstallation", "wipe"],
    )
    .map((line) => line.replace("node1.gnt.test ", ""));

/** Of each start, in order. */
const started = () =>
  bed.nodes.calls
    .filter(({ method }) => method === "instances.start")
    .map(({ request }) => (request as { readonly instance: Instance }).instance);

const INSTALLATION = [
  "create plain/2",
  "os.prepareInstallation plain/2",
  "create plain/1",
  "writeImage plain/1",
  "instances.start /0",
  "instances.stop /0",
  "remove plain/1",
  "os.finishInstallation plain/2",
  "wipe plain/2",
  "remove plain/2",
];

describe("a creation", () => {
  test("boots the image over the instance's disks, with the installation disk as its last, and starts the guest", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation({ osparams_secret: { password: SECRET } }));
    expect(story()).toEqual(["create plain/0", ...INSTALLATION, "instances.start /0"]);
    const [machine, guest] = started();
    expect(machine?.disks.map(({ sizeMib }) => sizeMib)).toEqual([2, 1024, 16]);
    expect(machine?.nics).toEqual([]);
    expect(guest).toMatchObject({ disks: [{ sizeMib: 1024 }], nics: [{}] });
    expect(bed.instance(NAME)).toMatchObject({ adminState: "up", os: "inside+v1" });
    expect([...bed.view.disks.values()], "nothing of it is in the configuration").toHaveLength(1);
  });

  test("tells its secrets to the installation disk and to nobody else", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation({ osparams_secret: { password: SECRET } }));
    const told = bed.nodes.calls.filter(({ request }) => JSON.stringify(request).includes(SECRET));
    expect([...new Set(told.map(({ method }) => method))]).toEqual([
      ...["os.validate", "os.prepareInstallation", "os.finishInstallation"],
    ]);
    expect(await bed.ledgerText()).not.toContain(SECRET);
  });

  test("of kvm boots the image's own disk, with disks that have the names the script is told", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", {
      ...creation({ hypervisor: "kvm", start: false }),
      hvparams: { kernel_path: "/boot/vmlinuz", boot_order: "network", disk_type: "ide" },
    });
    const [machine] = started();
    expect(decodeParameters(machine?.hvparams ?? {})).toMatchObject({
      ...{ kernel_path: "", boot_order: "disk", disk_type: "paravirtual" },
    });
  });

  test("of an instance with a mirrored disk is the same, on its primary node", async () => {
    const patient = { helper_startup_timeout: 10_000_000 };
    await bed.succeed("OP_INSTANCE_CREATE", creation({ disk_template: "drbd", snode: NODE2, ...patient }));
    expect(started()[0]?.disks.map(({ template }) => template)).toEqual(["plain", "drbd", "plain"]);
  });

  test("of a reserved instance is the same", async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation({ forthcoming: true }));
    expect(story()).toEqual([]);
    await bed.succeed("OP_INSTANCE_CREATE", creation({ commit: true }));
    expect(story()).toEqual(["create plain/0", ...INSTALLATION, "instances.start /0"]);
  });

  test.each([
    ["create", new BlockDeviceError("no luck")],
    ["os.prepareInstallation", new OpExecError("no luck")],
    ["writeImage", new BlockDeviceError("no luck")],
    ["instances.start", new HypervisorError("no luck")],
    ["instances.state", new HypervisorError("no luck")],
    ["instances.stop", new HypervisorError("no luck")],
    ["os.finishInstallation", new OpExecError("exit code 3")],
    ["wipe", new BlockDeviceError("no luck")],
  ])("that fails at %s leaves nothing, and no secrets on what is removed", async (method, error) => {
    bed.nodes.failures = [{ node: NODE1, method, error, times: 1 }];
    const { status, result } = await create({ osparams_secret: { password: SECRET } });
    expect({ status, result }).toMatchObject({ status: "error", result: [error.wireClass, expect.anything()] });
    expect(bed.view.findInstance(NAME)).toBeUndefined();
    expect(bed.nodes.leftovers()).toEqual([]);
    const lines = story();
    const written = lines.includes("os.prepareInstallation plain/2");
    if (written) expect(lines.lastIndexOf("wipe plain/2")).toBe(lines.lastIndexOf("remove plain/2") - 1);
    const stopped = lines.lastIndexOf("instances.stop /0");
    if (lines.includes("instances.start /0")) expect(stopped).toBeLessThan(lines.lastIndexOf("wipe plain/2"));
  });

  test("whose machine does not end in time is undone, and the machine killed", async () => {
    bed.nodes.onCall = undefined;
    const { result } = await create({ helper_shutdown_timeout: 0 });
    expect(result).toMatchObject(["OpExecError", [expect.stringMatching(/did not end within 0 s/)]]);
    expect(bed.nodes.leftovers()).toEqual([]);
  });

  test("whose machine does not start in time is undone", async () => {
    bed.nodes.onCall = async ({ method }) => {
      if (method === "instances.start") await once(AbortSignal.timeout(1), "abort");
    };
    bed.nodes.failures = [{ method: "instances.start", error: new HypervisorError("it was given up"), times: 1 }];
    const { result } = await create({ helper_startup_timeout: 0 });
    expect(result).toMatchObject(["OpExecError", [expect.stringMatching(/installer.raw .* did not start within 0 s/)]]);
    expect(bed.nodes.leftovers()).toEqual([]);
  });

  test("without an installation needs no machine", async () => {
    await bed.setCluster({ installImage: "" });
    await bed.succeed("OP_INSTANCE_CREATE", creation({ no_install: true }));
    expect(story()).toEqual(["create plain/0"]);
  });

  test.each([
    [{ helper_startup_timeout: -1 }, "wrong_input", /helper_startup_timeout must not be below 0/],
    [{ helper_shutdown_timeout: -1 }, "wrong_input", /helper_shutdown_timeout must not be below 0/],
    [{ disks: Array.from({ length: 15 }, () => ({ size: 8 })), ignore_ipolicy: true }, "wrong_input", /needs 2 more/],
    [{ disks: [{ size: 9_990 }], ignore_ipolicy: true }, "insufficient_resources", /./],
  ])("with %j is refused as %s", async (params, code, words) => {
    const { result } = await create(params);
    expect(result).toMatchObject(["OpPrereqError", [expect.stringMatching(words), code]]);
    expect(story()).toEqual([]);
  });

  test("is refused where the cluster has no image, or the node cannot read it", async () => {
    await bed.setCluster({ installImage: "" });
    expect((await create()).result).toMatchObject([
      "OpPrereqError",
      [expect.stringContaining("install_image"), "wrong_state"],
    ]);
    await bed.setCluster({ installImage: "/srv/images/other.raw" });
    expect((await create()).result).toMatchObject(["OpPrereqError", [expect.anything(), "environment_error"]]);
    expect(story()).toEqual([]);
  });
});

describe("a reinstallation", () => {
  beforeEach(async () => {
    await bed.succeed("OP_INSTANCE_CREATE", creation({ os_type: "noop", start: false }));
    bed.nodes.calls.length = 0;
  });

  test("is done by a machine, too", async () => {
    await bed.succeed("OP_INSTANCE_REINSTALL", { instance_name: NAME, os_type: "inside+v1" });
    expect(story()).toEqual(INSTALLATION);
    const asked = bed.nodes.calls.find(({ method }) => method === "os.prepareInstallation");
    expect(asked?.request).toMatchObject({ instance: { os: "inside+v1", reinstall: true } });
    expect(bed.instance(NAME)).toMatchObject({ os: "inside+v1", adminState: "down" });
  });

  test("that fails leaves the instance with its disk and its OS", async () => {
    const error = new OpExecError("exit code 3");
    bed.nodes.failures = [{ method: "os.finishInstallation", error, times: 1 }];
    const { result } = await bed.run("OP_INSTANCE_REINSTALL", { instance_name: NAME, os_type: "inside+v1" });
    expect(result).toMatchObject(["OpExecError", ["exit code 3"]]);
    expect(bed.instance(NAME).os).toBe("noop");
    expect(bed.nodes.named(NODE1).volumes.size).toBe(1);
    expect(bed.nodes.named(NODE1).guests.size).toBe(0);
  });
});

/** OP_INSTANCE_REINSTALL and OP_INSTANCE_RENAME: what is installed, what moves, and what is taken back. */
import type { RunHooksRequest } from "@gannet/rpc";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { unavailableIn } from "../../src/logical-units/registry.ts";
import { type LogicalUnitBed, NODES, startLogicalUnitBed } from "./logical-unit-bed.ts";

const [NODE1, NODE2] = NODES;
const NAME = "web1.gnt.test";
const OTHER = "web2.gnt.test";
const INSTANCE = { instance_name: NAME };
const PRIVATE = "privatevalue";
const SECRET = "opensesame";

let bed: LogicalUnitBed;
beforeAll(async () => {
  bed = await startLogicalUnitBed();
});
afterAll(() => bed[Symbol.asyncDispose]());

afterEach(async () => {
  bed.nodes.failures = [];
  for (const node of NODES) await bed.setNode(node, { offline: false });
  for (const { name } of bed.view.instances.values())
    await bed.succeed("OP_INSTANCE_REMOVE", { instance_name: name, shutdown_timeout: 0 });
  expect(bed.nodes.leftovers()).toEqual([]);
  bed.nodes.calls.length = 0;
});

async function create(template: string, more: object = {}): Promise<void> {
  await bed.succeed("OP_INSTANCE_CREATE", {
    ...{ ...INSTANCE, mode: "create", disk_template: template, nics: [{}], os_type: "noop", hypervisor: "fake" },
    ...{ pnode: NODE1, start: false, disks: template === "diskless" ? [] : [{ size: 1024 }, { size: 2048 }] },
    ...(template === "drbd" ? { snode: NODE2 } : {}),
    ...more,
  });
  if (template !== "diskless") await bed.succeed("OP_INSTANCE_DEACTIVATE_DISKS", INSTANCE);
  bed.nodes.calls.length = 0;
}

const resultOf = async (id: string, params: object = {}) => (await bed.run(id, { ...INSTANCE, ...params })).result;
const refusal = (code: string, text: string | RegExp = "") => ["OpPrereqError", [expect.stringMatching(text), code]];
const asked = (method: string) =>
  bed.nodes.calls.filter((call) => call.method === method).map(({ request }) => request as Record<string, unknown>);

describe("reinstall", () => {
  const REINSTALL = "OP_INSTANCE_REINSTALL";

  test("runs the OS script with the parameters of this once, and keeps nothing of them", async () => {
    await create("drbd", { osparams: { dhcp: "yes", locale: "C" }, osparams_private: { key: PRIVATE } });
    const { result, log } = await bed.succeed(REINSTALL, {
      ...INSTANCE,
      ...{ os_type: "other+v1", osparams: { dhcp: "no" }, osparams_private: { token: `${PRIVATE}2` } },
      osparams_secret: { password: SECRET },
    });
    expect(result).toBeNull();
    const parameters = { dhcp: "no", locale: "C", key: PRIVATE, token: `${PRIVATE}2`, password: SECRET };
    expect(asked("os.validate")).toMatchObject([{ os: "other+v1", parameters }]);
    expect(asked("os.create")).toMatchObject([{ os: "other+v1", reinstall: true, parameters }]);
    expect(bed.instance(NAME)).toMatchObject({
      ...{ os: "other+v1", osparams: { dhcp: "yes", locale: "C" }, osparamsPrivate: { key: PRIVATE } },
      disksActive: false,
    });
    expect(bed.nodes.named(NODE1).ends.size + bed.nodes.named(NODE2).ends.size).toBe(0);
    expect(log.join("\n")).not.toContain(PRIVATE);
    expect(await bed.ledgerText()).not.toContain(SECRET);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("that fails lets go of the disks, keeps the OS, and tells no secret", async () => {
    await create("plain");
    const params = { os_type: "other", osparams_secret: { password: SECRET } };
    bed.nodes.failures = [{ method: "os.create" }];
    expect(await resultOf(REINSTALL, params)).toMatchObject(["BlockDeviceError", expect.any(Array)]);
    expect(bed.nodes.story("shutdown")).toEqual([`${NODE1} shutdown plain/1`, `${NODE1} shutdown plain/0`]);
    expect(bed.instance(NAME).os).toBe("noop");
    expect(await bed.ledgerText()).not.toContain(SECRET);
  });

  test("is refused where there is nothing to install, or nowhere", async () => {
    await create("diskless");
    expect(await resultOf(REINSTALL)).toEqual(refusal("wrong_input", "no disks"));
    await bed.succeed("OP_INSTANCE_REMOVE", { ...INSTANCE, shutdown_timeout: 0 });
    await create("plain", { os_type: null, no_install: true });
    expect(await resultOf(REINSTALL)).toEqual(refusal("wrong_input", "os_type"));
    expect(await resultOf(REINSTALL, { instance_name: "nosuch" })).toEqual(refusal("unknown_entity"));
    await bed.succeed("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, offline: true });
    expect(await resultOf(REINSTALL)).toEqual(refusal("wrong_state", "offline"));
    await bed.succeed("OP_INSTANCE_SET_PARAMS", { ...INSTANCE, offline: false });
    const twice = { os_type: "noop", osparams: { a: "1" }, osparams_secret: { a: "2" } };
    expect(await resultOf(REINSTALL, twice)).toEqual(refusal("wrong_input", ": a$"));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(await resultOf(REINSTALL, { os_type: "noop" })).toEqual(refusal("wrong_state", "running"));
    await bed.setNode(NODE1, { offline: true });
    expect(await resultOf(REINSTALL, { os_type: "noop" })).toEqual(refusal("wrong_state", "offline"));
    expect(asked("os.create")).toEqual([]);
  });
});

describe("rename", () => {
  const RENAME = "OP_INSTANCE_RENAME";
  const volumes = () => [...bed.nodes.named(NODE1).volumes.keys()];

  test("moves files into the folder of the new name, and runs the OS script", async () => {
    await create("file", { file_storage_dir: "sub" });
    const { result } = await bed.succeed(RENAME, { ...INSTANCE, new_name: OTHER });
    expect(result).toBe(OTHER);
    expect(bed.view.findInstance(NAME)).toBeUndefined();
    const [before] = asked("node.runHooks") as unknown as readonly RunHooksRequest[];
    expect(before).toMatchObject({ path: "instance-rename", phase: "pre" });
    expect(before?.environment).toMatchObject({ GANETI_INSTANCE_NAME: NAME, GANETI_INSTANCE_NEW_NAME: OTHER });
    const places = bed.disks(OTHER).map(({ logicalId }) => logicalId.join("/"));
    expect(places[0]).toMatch(/\/sub\/web2\.gnt\.test\/[^/]+$/);
    expect(volumes()).toEqual(places);
    expect(asked("os.rename")).toMatchObject([{ oldName: NAME, instance: { instance: { name: OTHER }, os: "noop" } }]);
    await bed.succeed("OP_INSTANCE_STARTUP", { instance_name: OTHER });
    expect([...bed.nodes.named(NODE1).guests]).toEqual([OTHER]);
  });

  test("of volumes leaves them where they are, and lets go of them", async () => {
    await create("drbd");
    const before = volumes();
    await bed.succeed(RENAME, { ...INSTANCE, new_name: OTHER });
    expect(volumes()).toEqual(before);
    expect(bed.nodes.named(NODE1).ends.size).toBe(0);
    const noted = bed.nodes.calls.filter(({ method }) => method === "setInfo");
    expect(noted.map(({ node }) => node)).toEqual([NODE1, NODE2, NODE1, NODE2]);
    for (const { request } of noted) expect(request).toMatchObject({ device: { instanceName: OTHER } });
    await bed.succeed("OP_INSTANCE_STARTUP", { instance_name: OTHER });
  });

  test("that cannot be noted on the storage is told of", async () => {
    await create("plain");
    bed.nodes.failures = [{ method: "setInfo", times: 1 }];
    const { log } = await bed.succeed(RENAME, { ...INSTANCE, new_name: OTHER });
    expect(JSON.stringify(log)).toMatch(/Error setting info of disk\/0 on node1/);
  });

  test.each(["rename", "assemble", "os.rename", "shutdown"])("that fails in %s is taken back", async (method) => {
    await create("file");
    const [row, disks, files] = [bed.instance(NAME), bed.disks(NAME), volumes().toSorted()];
    for (const after of [false, true]) {
      bed.nodes.failures = [{ method, after, times: 1 }];
      expect((await bed.run(RENAME, { ...INSTANCE, new_name: OTHER })).status).toBe("error");
      expect({ ...bed.instance(NAME), mtime: 0, serialNo: 0 }).toEqual({ ...row, mtime: 0, serialNo: 0 });
      expect(bed.disks(NAME).map(({ logicalId }) => logicalId)).toEqual(disks.map(({ logicalId }) => logicalId));
      expect(volumes().toSorted()).toEqual(files);
    }
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
  });

  test("is refused to a name that is taken or does not resolve, and while the instance runs", async () => {
    await create("plain");
    await create("diskless", { instance_name: OTHER });
    expect(await resultOf(RENAME, { new_name: OTHER })).toEqual(refusal("already_exists", OTHER));
    expect(await resultOf(RENAME, { new_name: NAME })).toEqual(refusal("already_exists"));
    const free = { new_name: "web3.gnt.invalid" };
    expect(await resultOf(RENAME, { ...free, ip_check: true })).toEqual(refusal("wrong_input", "name_check"));
    expect(await resultOf(RENAME, { ...free, name_check: true })).toEqual(refusal("resolver_error"));
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    expect(await resultOf(RENAME, free)).toEqual(refusal("wrong_state", "running"));
    expect(bed.instance(NAME).name).toBe(NAME);
  });
});

describe("console", () => {
  test("tells of a running instance how to reach it, and fails for one that does not run", async () => {
    await create("diskless");
    const down = await bed.run("OP_INSTANCE_CONSOLE", INSTANCE);
    expect(down.result).toEqual(["OpExecError", [expect.stringContaining("not running")]]);
    await bed.succeed("OP_INSTANCE_STARTUP", INSTANCE);
    const { result } = await bed.succeed("OP_INSTANCE_CONSOLE", INSTANCE);
    expect(result).toEqual({ instance: NAME, kind: "msg", message: "no console here" });
    await bed.setNode(NODE1, { offline: true });
    expect(await resultOf("OP_INSTANCE_CONSOLE")).toEqual(refusal("wrong_state", "offline"));
  });
});

describe("the preparation of an export", () => {
  test("inside the cluster needs no more than a node that answers", async () => {
    await create("plain");
    expect((await bed.succeed("OP_BACKUP_PREPARE", { ...INSTANCE, mode: "local" })).result).toBeNull();
    await bed.setNode(NODE1, { offline: true });
    expect(await resultOf("OP_BACKUP_PREPARE", { mode: "local" })).toEqual(refusal("wrong_state", "offline"));
    expect(unavailableIn({ OP_ID: "OP_BACKUP_PREPARE", ...INSTANCE, mode: "remote" })).toBeUndefined();
  });
});

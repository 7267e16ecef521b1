import { randomUUID } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BLOCK_DEVICE_CHECKS, type BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { BlockDeviceError } from "@gannet/errors";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { parseAttachment } from "../../../src/block-devices/ext/attach-output.ts";
import { createExtDriver } from "../../../src/block-devices/ext/ext-driver.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../../src/block-devices/storage-tools.ts";

const { signal } = new AbortController();
const SCRIPTS = ["create", "remove", "grow", "attach", "detach", "setinfo", "verify", "snapshot", "open", "close"];

interface ExtSubject extends BlockDeviceSubject {
  readonly driver: ReturnType<typeof createExtDriver>;
  readonly folder: string;
  device(changes?: Partial<BlockDeviceSpec>): BlockDeviceSpec;
  /** Names of the scripts that ran, each with its variables; emptied by the reader. */
  takeCalls(): Promise<readonly (readonly string[])[]>;
  /** Shell text that runs in the place of a script. */
  fault(script: string, text: string): Promise<void>;
  close(): Promise<void>;
}

async function extSubject(): Promise<ExtSubject> {
  const base = await mkdtemp(path.join(tmpdir(), "gannet-ext-"));
  const folder = path.join(base, "second", "files");
  for (const each of ["volumes", "faults"]) await mkdir(path.join(folder, each), { recursive: true });
  for (const script of SCRIPTS) {
    await copyFile(path.join(import.meta.dirname, "provider-script.sh"), path.join(folder, script));
    await chmod(path.join(folder, script), 0o755);
  }
  await writeFile(path.join(folder, "parameters.list"), "uri How kvm reaches it\nPool  Where it lies\n");
  const logger = silentLogger();
  const driver = createExtDriver({
    searchPath: [path.join(base, "first"), path.join(base, "second")],
    runner: createCommandRunner({ logger, killGraceMs: 100 }),
    tools: SYSTEM_STORAGE_TOOLS,
    logger,
  });
  const device = (changes: Partial<BlockDeviceSpec> = {}): BlockDeviceSpec => ({
    ...{ uuid: randomUUID(), template: "ext", logicalId: ["files", `${randomUUID()}.ext.disk0`], sizeMib: 4 },
    ...{ mode: "rw", instanceName: "web1.example.com", index: 0, params: {}, children: [], ...changes },
  });
  const volumes = path.join(folder, "volumes");
  const callsFile = path.join(folder, "calls");
  const hostile = ["", "..", "a/b", "-rf", "a b", "a\nb", "a\0b", "$(id)", "x".repeat(10_000)];
  return {
    ...{ driver, folder, device },
    newDevice: () => device(),
    hostileDevices: () => [
      ...hostile.map((name) => device({ logicalId: ["files", name] })),
      ...[...hostile, "nosuch"].map((name) => device({ logicalId: [name, "disk0"] })),
    ],
    occupy: async ({ logicalId }) => {
      const target = path.join(volumes, String(logicalId[1]));
      await writeFile(target, "somebody's data");
      return {
        isUntouched: async () => (await readFile(target, "utf8")) === "somebody's data",
        clear: () => rm(target),
      };
    },
    inventory: async () => (await readdir(volumes)).sort(),
    write: async (attached, text) => {
      await using file = await open(attached.path, "r+");
      await file.write(text, 0);
    },
    read: async (attached, bytes) => {
      await using file = await open(attached.path);
      return (await file.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer.toString();
    },
    takeCalls: async () => {
      const text = await readFile(callsFile, "utf8").catch(() => "");
      await rm(callsFile, { force: true });
      return text
        .split(/^(?=[a-z])/m)
        .filter(Boolean)
        .map((call) => call.trim().split("\n"));
    },
    fault: (script, text) => writeFile(path.join(folder, "faults", script), text),
    close: () => rm(base, { recursive: true }),
  };
}

describe("conformance of ext", () => {
  let subject: ExtSubject;
  beforeAll(async () => {
    subject = await extSubject();
  });
  afterAll(() => subject.close());

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run(subject));
});

describe("the ext driver", () => {
  let subject: ExtSubject;
  let device: BlockDeviceSpec;
  beforeEach(async () => {
    subject = await extSubject();
    device = subject.device({
      logicalId: ["files", "one"],
      name: "data",
      params: { pool: "fast", access: "userspace" },
    });
  });
  afterEach(() => subject.close());

  const scriptsOf = async () => (await subject.takeCalls()).map(([script]) => script);

  test("tells each script what it needs to know", async () => {
    const { driver } = subject;
    const always = ["EXTP_POOL=fast", "VOL_CNAME=data", "VOL_NAME=one"];
    const uuid = `VOL_UUID=${device.uuid}`;
    await driver.create(device, signal);
    expect(await subject.takeCalls()).toEqual([
      ["attach", ...always, uuid],
      ["verify", ...always, "VOL_SIZE=4", uuid],
      ["create", ...always, "VOL_SIZE=4", uuid],
      [
        "setinfo",
        "EXTP_POOL=fast",
        "VOL_CNAME=data",
        "VOL_METADATA=originstname+web1.example.com",
        "VOL_NAME=one",
        uuid,
      ],
      ["attach", ...always, uuid],
    ]);
    await driver.assemble(device, signal);
    await driver.shutdown(device, signal);
    expect(await subject.takeCalls()).toEqual([
      ["attach", ...always, uuid],
      ["open", ...always, "VOL_OPEN_EXCLUSIVE=False", uuid],
      ["close", ...always, uuid],
      ["detach", ...always, uuid],
    ]);
    await driver.grow(device, 6, signal);
    expect((await subject.takeCalls())[1]).toEqual(["grow", ...always, "VOL_NEW_SIZE=6", "VOL_SIZE=4", uuid]);
    const snapshot = await driver.snapshot(device, { sizeMib: 2 }, signal);
    expect(snapshot).toMatchObject({ logicalId: ["files", "one.snap"], template: "ext" });
    expect(await subject.takeCalls()).toEqual([
      ["snapshot", ...always, "VOL_SNAPSHOT_NAME=one.snap", "VOL_SNAPSHOT_SIZE=2", uuid],
    ]);
    await driver.remove(device, signal);
    expect(await subject.takeCalls()).toEqual(
      ["attach", "close", "detach", "remove"].map((script) => [script, ...always, uuid]),
    );
    // What is gone is not asked to be removed.
    await driver.remove(device, signal);
    expect(await scriptsOf()).toEqual(["attach"]);
  });

  test("a volume that the provider made larger is the disk's, and grows only beyond what it has", async () => {
    await subject.fault("create", 'echo "$VOL_UUID" >"$volume.uuid"; truncate -s 8M "$volume"; exit 0');
    await subject.driver.create(device, signal);
    await subject.driver.create(device, signal);
    await subject.takeCalls();
    await subject.driver.grow(device, 6, signal);
    expect(await scriptsOf()).toEqual(["attach"]);
    await subject.driver.grow({ ...device, sizeMib: 6 }, 12, signal);
    const grow = (await subject.takeCalls()).find(([script]) => script === "grow");
    expect(grow).toEqual(expect.arrayContaining(["VOL_SIZE=6", "VOL_NEW_SIZE=12"]));
    expect(await subject.driver.status(device, signal)).toEqual({ exists: true, sizeMib: 12 });
    await expect(subject.driver.create({ ...device, sizeMib: 16 }, signal)).rejects.toThrow(
      "exists already with 12 MiB",
    );
  });

  test("hands on how a hypervisor reaches the volume", async () => {
    const reached = { ...device, params: { uri: "rbd:pool/one" } };
    await subject.driver.create(reached, signal);
    expect(await subject.driver.assemble(reached, signal)).toEqual({
      path: path.join(subject.folder, "volumes/one"),
      ...{ kind: "file", format: "raw", uris: { kvm: "rbd:pool/one" } },
    });
  });

  test("a provider without the newer scripts does without them", async () => {
    for (const script of ["snapshot", "open", "close"]) await rm(path.join(subject.folder, script));
    await subject.driver.create(device, signal);
    await subject.driver.assemble(device, signal);
    await subject.driver.shutdown(device, signal);
    expect(await scriptsOf()).not.toContain("open");
    await expect(subject.driver.snapshot(device, { sizeMib: 2 }, signal)).rejects.toThrow("has no script snapshot");
  });

  test("what the provider lacks is named", async () => {
    const { driver, folder } = subject;
    await expect(driver.create({ ...device, params: { colour: "red" } }, signal)).rejects.toThrow(
      'files knows no parameter "colour", only uri, pool',
    );
    await expect(driver.create(subject.device({ logicalId: ["nosuch", "one"] }), signal)).rejects.toThrow(
      /no external storage provider nosuch; one is a folder of that name in .*first, .*second$/,
    );
    await chmod(path.join(folder, "grow"), 0o644);
    await expect(driver.create(device, signal)).rejects.toThrow("has no executable script grow");
    await chmod(path.join(folder, "grow"), 0o755);
    await rm(path.join(folder, "parameters.list"));
    await expect(driver.create(device, signal)).rejects.toThrow("has no readable parameters.list");
    expect(await subject.takeCalls()).toEqual([]);
  });

  test("a volume that cannot be given its name is removed again", async () => {
    await subject.fault("setinfo", "echo no names here >&2; exit 3");
    await expect(subject.driver.create(device, signal)).rejects.toThrow(
      "script setinfo of the external storage provider failed with exit code 3 and says: no names here",
    );
    expect(await subject.inventory()).toEqual([]);
  });

  test("a made volume that cannot be attached is removed all the same", async () => {
    await subject.fault("setinfo", "exit 3");
    await subject.fault("attach", "exit 1");
    await expect(subject.driver.create(device, signal)).rejects.toThrow("script setinfo");
    expect(await scriptsOf()).toEqual(["attach", "verify", "create", "setinfo", "attach", "remove"]);
    expect(await subject.inventory()).toEqual([]);
  });

  test("a provider that refuses to create is believed, and not asked to remove", async () => {
    await subject.fault("create", "echo quota exceeded; exit 7");
    await expect(subject.driver.create(device, signal)).rejects.toThrow("exit code 7 and says: quota exceeded");
    expect(await scriptsOf()).toEqual(["attach", "verify", "create"]);
  });

  test("a create that hangs is ended with its operation, and cleaned up", async () => {
    await subject.fault("create", 'echo "$VOL_UUID" >"$volume.uuid"; truncate -s 1M "$volume"; sleep 600');
    const abort = new AbortController();
    const creating = subject.driver.create(device, abort.signal);
    await expect.poll(() => subject.inventory(), { timeout: 30_000 }).toEqual(["one", "one.uuid"]);
    abort.abort(new Error("the job was stopped"));
    await expect(creating).rejects.toThrow("the job was stopped");
    expect(await subject.inventory()).toEqual([]);
  });

  test.each([
    [
      "create",
      (disk: BlockDeviceSpec) => subject.driver.create({ ...disk, logicalId: ["files", "two"] }, signal),
      "there is no volume",
    ],
    ["grow", (disk: BlockDeviceSpec) => subject.driver.grow(disk, 8, signal), "but it has 4 MiB"],
  ])("a %s that does nothing and reports success", async (script, operation, message) => {
    await subject.driver.create(device, signal);
    await subject.fault(script, "exit 0");
    await expect(operation(device)).rejects.toThrow(message);
  });

  test.each(["relative/path", "%$§!", "", "/dev/null", "/dev/no-such-device", "/etc", "/dev/a\nxmpp:b"])(
    "an attach that prints %j",
    async (printed) => {
      await subject.driver.create(device, signal);
      await writeFile(path.join(subject.folder, "printed"), `${printed}\n`);
      await subject.fault("attach", "cat printed; exit 0");
      await expect(subject.driver.assemble(device, signal)).rejects.toThrow(BlockDeviceError);
      await expect(subject.driver.status(device, signal)).rejects.toThrow("script attach printed");
    },
  );
});

test.each([
  ["/dev/rbd0\n", { path: "/dev/rbd0", uris: {} }],
  ["/dev/rbd0\nkvm:rbd:pool/a\nxen-hvm:x:y\n", { path: "/dev/rbd0", uris: { kvm: "rbd:pool/a", "xen-hvm": "x:y" } }],
  ["\nkvm:rbd:pool/a\n", { path: "", uris: { kvm: "rbd:pool/a" } }],
  ["", undefined],
  ["\n\n", undefined],
  ["/dev/a\rb\n", undefined],
])("attach printing %j", (stdout, attachment) => {
  expect(parseAttachment(stdout)).toEqual(attachment);
});

import { spawnSync } from "node:child_process";
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
import { readyDevices } from "../../../src/block-devices/ext/kernel-devices.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../../src/block-devices/storage-tools.ts";
import { LogFolder } from "../../../src/log-folder.ts";
import { type ServedDriver, serveDriver } from "../served-driver.ts";

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
  /** Of scripts, by the script, provider and volume that their names tell. */
  logs(): Promise<readonly (readonly [name: string, text: string])[]>;
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
    logs: new LogFolder(path.join(base, "logs")),
    deviceWaitMs: 300,
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
    logs: async () => {
      const names = (await readdir(path.join(base, "logs")).catch(() => [])).sort();
      return Promise.all(
        names.map(async (name) => {
          const text = await readFile(path.join(base, "logs", name), "utf8");
          return [name.replace(/-\d{4}-\d\d-\d\dT[\d_.]+\.log$/, ""), text] as const;
        }),
      );
    },
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

describe("conformance of ext over gRPC", () => {
  let subject: ExtSubject;
  let served: ServedDriver;
  beforeAll(async () => {
    subject = await extSubject();
    served = await serveDriver(subject.driver);
  });
  afterAll(async () => {
    await served[Symbol.asyncDispose]();
    await subject.close();
  });

  test.each(BLOCK_DEVICE_CHECKS)("$name", ({ run }) => run({ ...subject, driver: served.driver }));
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

  test("a device that appears a while after the attach is waited for", async () => {
    await subject.driver.create(device, signal);
    await subject.fault(
      "attach",
      'mv "$volume" "$volume.late"; (sleep 0.1; mv "$volume.late" "$volume") >/dev/null 2>&1 & echo "$volume"; exit 0',
    );
    expect(await subject.driver.assemble(device, signal)).toMatchObject({ path: expect.stringMatching(/\/one$/) });
    await subject.fault("attach", "echo /dev/no-such-device; exit 0");
    await expect(subject.driver.assemble(device, signal)).rejects.toThrow(
      "script attach printed /dev/no-such-device, which has not appeared within 0.3 s",
    );
  });

  test("a volume is removed whatever its attach prints, and though it cannot be closed", async () => {
    await subject.driver.create(device, signal);
    await subject.takeCalls();
    await subject.fault("attach", "echo /dev/no-such-device; exit 0");
    await subject.fault("close", "exit 1");
    await subject.driver.remove(device, signal);
    expect(await scriptsOf()).toEqual(["attach", "close", "detach", "remove"]);
    expect(await subject.inventory()).toEqual([]);
  });

  test("a volume that is gone is deactivated; one that stays attached is told of", async () => {
    await subject.driver.create(device, signal);
    await subject.fault("detach", "test -e $volume || refuse 'no volume'; exit 4");
    await expect(subject.driver.shutdown(device, signal)).rejects.toThrow("script detach");
    await rm(path.join(subject.folder, "volumes/one"));
    await subject.driver.shutdown(device, signal);
  });

  test("a volume that cannot be closed is detached, and that is told", async () => {
    await subject.driver.create(device, signal);
    await subject.fault("close", "echo still open; exit 1");
    await expect(subject.driver.shutdown(device, signal)).rejects.toThrow("says: still open");
    expect(await subject.inventory()).toEqual(["one", "one.uuid"]);
  });

  test("why a provider cannot attach is told", async () => {
    await expect(subject.driver.assemble(device, signal)).rejects.toThrow(
      "does not exist, or the external storage provider files cannot attach it, which says: no volume one",
    );
  });

  test("the instance's new name is noted", async () => {
    await subject.driver.create(device, signal);
    await subject.takeCalls();
    await subject.driver.setInfo({ ...device, instanceName: "web2.example.com" }, signal);
    const [[script, ...variables] = []] = await subject.takeCalls();
    expect([script, variables]).toEqual([
      "setinfo",
      expect.arrayContaining(["VOL_METADATA=originstname+web2.example.com", "VOL_NAME=one"]),
    ]);
  });

  test("each script but attach has a log, which its error names", async () => {
    await subject.fault("create", "echo to one; echo to other >&2; echo to one");
    await subject.driver.create(device, signal);
    expect(await subject.logs()).toEqual([
      ["create-files-one", "to one\nto other\nto one\n"],
      ["setinfo-files-one", ""],
      ["verify-files-one", ""],
    ]);
    await subject.fault("grow", "echo no room; exit 3");
    await expect(subject.driver.grow(device, 8, signal)).rejects.toThrow(
      /says: no room \(log: .*\/logs\/grow-files-one-.*\.log\)$/,
    );
  });

  test("a volume is used where no log can be made", async () => {
    await writeFile(path.join(subject.folder, "../../logs"), "");
    await subject.driver.create(device, signal);
    expect(await subject.driver.status(device, signal)).toMatchObject({ exists: true });
  });

  test("operations on one volume wait for each other", async () => {
    await subject.driver.create(device, signal);
    await subject.takeCalls();
    await subject.fault("detach", "sleep 0.2; echo detached >>calls");
    await Promise.all([subject.driver.shutdown(device, signal), subject.driver.status(device, signal)]);
    expect(await scriptsOf()).toEqual(["close", "detach", "detached", "attach"]);
  });

  test.runIf(mayUseLoops())("a look leaves a device as it found it", async () => {
    const { driver } = subject;
    await driver.create(device, signal);
    await subject.fault("attach", 'losetup -j "$volume" -O NAME -n | grep . || losetup -f --show "$volume"; exit 0');
    await subject.fault("detach", 'losetup -d "$(losetup -j "$volume" -O NAME -n)"');
    const before = await readyDevices();
    expect(await driver.status(device, signal)).toEqual({ exists: true, sizeMib: 4 });
    expect(await readyDevices()).toEqual(before);
    const attached = await driver.assemble(device, signal);
    expect(attached).toMatchObject({ kind: "block", path: expect.stringMatching(/^\/dev\/loop/) });
    expect(await driver.status(device, signal)).toEqual({ exists: true, sizeMib: 4 });
    expect((await readyDevices()).size).toBe(before.size + 1);
    await driver.remove(device, signal);
    expect(await readyDevices()).toEqual(before);
    expect(await subject.inventory()).toEqual([]);
  });

  test.each(["relative/path", "%$§!", "", "/dev/null", "/dev/no-such-device", "/etc", "/dev/no-such\nxmpp:b"])(
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
  ["/dev/a\nKVM:a:b\nkvm:second\nxmpp:c\nnonsense\n", { path: "/dev/a", uris: { kvm: "a:b" } }],
  ["\nxmpp:c\n", undefined],
  ["", undefined],
  ["\n\n", undefined],
  ["/dev/a\rb\n", undefined],
])("attach printing %j", (stdout, attachment) => {
  expect(parseAttachment(stdout)).toEqual(attachment);
});

/** Needs root, and loop devices: a container may lack them. */
function mayUseLoops(): boolean {
  return spawnSync("losetup", ["-f"]).status === 0;
}

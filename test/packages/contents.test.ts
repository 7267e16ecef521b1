/** The packages as they are built: the same bytes each time, nothing twice, and programs that run where they are put. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { gunzipSync } from "node:zlib";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BuiltPackage, buildPackages } from "../../deploy/packages/build-packages.ts";
import { PACKAGES } from "../../deploy/packages/package-definitions.ts";

const VERSION = { version: "0.1.0+20260101000000.g0000000", epoch: 1_767_225_600 } as const;
const DPKG_DEB = "/usr/bin/dpkg-deb";

const runner = createCommandRunner({ logger: silentLogger() });
let work: string;
/** A script in place of the pinned Node that starts it: copying and packing that one takes most of a build's time. */
let runtime: string;
/** Each package's files as they would be installed. */
let root: string;
let built: readonly BuiltPackage[];

async function build(folder: string): Promise<readonly BuiltPackage[]> {
  await mkdir(folder);
  return await buildPackages({ ...VERSION, folder, compression: "none", runtime, runner });
}

function run(...argv: [string, ...string[]]) {
  return runner.run({ argv, timeoutMs: 60_000, okExitCodes: [0, 1, 2], env: { NODE_DISABLE_COMPILE_CACHE: "1" } });
}

async function digest(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** `-rwxr-xr-x root/root size date time ./path` */
async function listOf({
  file,
}: BuiltPackage): Promise<readonly { mode: string; owner: string; stamp: string; name: string }[]> {
  const { stdout } = await runner.run({ argv: [DPKG_DEB, "--contents", file], timeoutMs: 60_000, env: { TZ: "UTC" } });
  return stdout
    .trim()
    .split("\n")
    .map((line) => {
      const [mode = "", owner = "", , date, time, name = ""] = line.split(/\s+/);
      return { mode, owner, stamp: `${date} ${time}`, name };
    });
}

beforeAll(async () => {
  work = await mkdtemp(path.join(tmpdir(), "gannet-package-test-"));
  root = path.join(work, "root");
  runtime = path.join(work, "node");
  await writeFile(runtime, `#!/bin/sh\nexec ${process.execPath} "$@"\n`, { mode: 0o755 });
  built = await build(path.join(work, "first"));
  for (const { file } of built) await runner.run({ argv: [DPKG_DEB, "--extract", file, root], timeoutMs: 60_000 });
});

afterAll(async () => {
  await rm(work, { recursive: true, force: true });
});

test("a second build has the same bytes", async () => {
  const again = await build(path.join(work, "second"));
  const digests = (packages: readonly BuiltPackage[]) => Promise.all(packages.map(({ file }) => digest(file)));
  expect(await digests(again)).toEqual(await digests(built));
});

test("all files are root's, writable by nobody else, and of the commit's time; no two packages have the same file", async () => {
  const owners = new Map<string, string>();
  for (const each of built) {
    for (const { mode, owner, stamp, name } of await listOf(each)) {
      expect({ name, owner, stamp }).toEqual({ name, owner: "root/root", stamp: "2026-01-01 00:00" });
      if (!mode.startsWith("l")) expect(mode, name).toMatch(/^[-d]rw[-x]r-[-x]r-[-x]$/);
      if (mode.startsWith("d")) continue;
      expect(owners.get(name), name).toBeUndefined();
      owners.set(name, each.name);
    }
  }
});

test("each package has its fields, sums and scripts in order", async () => {
  for (const { name, file } of built) {
    const control = await mkdtemp(path.join(work, "control-"));
    await runner.run({ argv: [DPKG_DEB, "--control", file, control], timeoutMs: 60_000 });
    const fields = await readFile(path.join(control, "control"), "utf8");
    expect(fields).toContain(`Package: ${name}\n`);
    expect(fields).toContain(`Version: ${VERSION.version}\n`);
    expect(fields).not.toContain("THIS-VERSION");
    const sums = (await readFile(path.join(control, "md5sums"), "utf8")).trim().split("\n").length;
    expect(sums).toBe((await listOf({ name, file })).filter(({ mode }) => mode.startsWith("-")).length);
    for (const script of ["postinst", "prerm"])
      expect(await run("/bin/dash", "-n", path.join(control, script))).toMatchObject({ exitCode: 0, stderr: "" });
  }
  const master = PACKAGES.find(({ name }) => name === "gannet-master");
  expect(master?.depends.join()).toMatch(/redis-server.*openssl/);
});

test("no file names the folder that it was built in", async () => {
  const repository = path.resolve(import.meta.dirname, "../..");
  const found = await run("/bin/grep", "-rlF", "--exclude=node", "--", repository, root);
  expect(found.stdout).toBe("");
});

describe("the programs, from where they are installed", () => {
  const programs = "/usr/lib/gannet";
  const node = (bundle: string, ...args: string[]) =>
    run(path.join(root, programs, "node"), path.join(root, programs, bundle), ...args);

  test("daemons load all that they read at their start, and ask for their configuration", async () => {
    expect(await node("master.mjs")).toMatchObject({ stderr: expect.stringMatching(/^gannet-master: usage/) });
    expect(await node("node-agent.mjs")).toMatchObject({ stderr: expect.stringMatching(/^gannet-node-agent: give/) });
  });

  test("operators' programs tell their use", async () => {
    expect(await node("admin.mjs", "--help")).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/init .*backup /s),
    });
    expect(await node("node.mjs", "--help")).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/join/) });
    for (const folder of [programs, "/usr/lib/gannet-cli"])
      expect(
        await run(path.join(root, folder, "node"), path.join(root, folder, "gnt.mjs"), "instance", "--help"),
      ).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/gnt instance/) });
  });

  test("gnt has its manual page", async () => {
    for (const folder of [programs, "/usr/lib/gannet-cli"]) {
      const manual = gunzipSync(await readFile(path.join(root, folder, "man/gnt.1.gz"))).toString();
      expect(manual.split("\n")[0]).toMatch(/^\.TH GNT 1 "" "Gannet \d[^"]*" "Gannet"$/);
    }
  });

  test("plans have their worker beside the master", async () => {
    expect((await readFile(path.join(root, programs, "plan-worker.mjs"), "utf8")).length).toBeGreaterThan(1000);
  });
});

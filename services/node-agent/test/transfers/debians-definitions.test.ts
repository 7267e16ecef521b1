/** The OS definitions of Debian's packages, unchanged, from the creation of a disk to its way over an export. */
import { execFile, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import type { AttachedDevice, GuestSpec } from "@gannet/driver-contract";
import type { CommandRunner, PipelineRunner } from "@gannet/exec";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createRequest, GUEST } from "../os/os-fixture.ts";
import { connect, INSTANCE, leftovers, outcome, type TransferFixture, transferFixture } from "./transfer-fixture.ts";

const DEBIANS = "/usr/share/ganeti/os";
const BUSYBOX = "/usr/bin/busybox";
const { signal } = new AbortController();
const execute = promisify(execFile);

const lacking = (name: string, ...others: readonly string[]) =>
  [path.join(DEBIANS, name), ...others].filter((file) => !existsSync(file));
function works(program: string, ...args: readonly string[]): boolean {
  return spawnSync(program, args).status === 0;
}
const missing = {
  noop: lacking("noop"),
  debootstrap: [
    ...lacking("debootstrap", BUSYBOX, "/usr/sbin/dump", "/usr/sbin/restore", "/dev/loop-control"),
    ...(works("/usr/bin/unshare", "--mount", "/bin/true") ? [] : ["leave to make mount namespaces"]),
    ...(works("/usr/sbin/losetup", "-f") ? [] : ["a free loop device"]),
  ],
};
for (const [name, files] of Object.entries(missing))
  if (files.length > 0) console.warn(`Not testing Debian's ${name}: this machine has not ${files.join(", ")}`);

let nodes: TransferFixture;
/** Files of the administrator's, which the definition's scripts alone see at their places. */
const places: Record<string, string> = {};

beforeAll(async () => {
  nodes = await transferFixture({ osSearchPath: [DEBIANS], runnerOf: withPlaces });
});
afterAll(() => nodes.close());
afterEach(async () => {
  expect([...(await leftovers(nodes.source)), ...(await leftovers(nodes.target))]).toEqual([]);
});

function withPlaces<Runner extends CommandRunner & PipelineRunner>(runner: Runner): Runner {
  const seeing = (argv: readonly [string, ...string[]]): readonly [string, ...string[]] => {
    if (!argv[0].startsWith(`${DEBIANS}/debootstrap/`)) return argv;
    const mounts = Object.entries(places).map(([place, file]) => `mount --bind ${file} ${place} && `);
    return ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", `${mounts.join("")}exec "$@"`, "sh", ...argv];
  };
  return {
    ...runner,
    run: (command) => runner.run({ ...command, argv: seeing(command.argv) }),
    runPipeline: (pipeline) =>
      runner.runPipeline({
        ...pipeline,
        stages: pipeline.stages.map((stage) => ({ ...stage, argv: seeing(stage.argv) })),
      }),
  };
}

function requestFor(os: string, disk: AttachedDevice, changes: Partial<GuestSpec> = {}) {
  const { path: file, kind, format } = disk;
  const attached = { uuid: "0d8a3c4e-5f6d-4d8e-9b0a-1c2d3e4f5a6b", index: 0, name: null, mode: "rw", sizeMib: 512 };
  const guest = { ...GUEST, name: INSTANCE, disks: [{ ...attached, path: file, kind, format }], ...changes };
  return createRequest(os, { guest: guest as GuestSpec });
}

const scriptEnd = (os: string, disk: AttachedDevice) =>
  ({ kind: "script", index: 0, disk, request: requestFor(os, disk) }) as const;
const exportedFile = { kind: "file", instanceName: INSTANCE, file: "disk-uuid" } as const;
const rawFile = (file: string): AttachedDevice => ({ path: file, kind: "file", format: "raw" });

/** Over an export of the target node's, and back into another disk. */
async function overAnExport(os: string, from: AttachedDevice, to: AttachedDevice): Promise<number | null | undefined> {
  const { source, target } = nodes;
  const out = await connect(source, target, { source: scriptEnd(os, from), target: exportedFile });
  const sent = await outcome(source, out.exportName);
  expect([sent.problem, (await outcome(target, out.importName)).problem]).toEqual(["", ""]);
  await target.transfers.finalizeExport(INSTANCE, "[export]\nversion = 0\n");
  const back = await connect(target, source, { source: exportedFile, target: scriptEnd(os, to) });
  for (const state of [await outcome(target, back.exportName), await outcome(source, back.importName)])
    expect(state.problem).toBe("");
  await target.transfers.removeExport(INSTANCE, "all");
  return sent.percent;
}

test.runIf(missing.noop.length === 0)("noop's disk is sent by its own scripts, which tell how much it is", async () => {
  const [from, to] = [await nodes.disk("from", 5), await nodes.disk("to", 5, "empty")];
  await nodes.source.os.create(requestFor("noop", rawFile(from)), signal);
  expect(await overAnExport("noop", rawFile(from), rawFile(to))).toBe(100);
  expect((await readFile(to)).equals(await readFile(from))).toBe(true);
});

/** A file in the file system of a disk. */
async function readIn(disk: AttachedDevice, file: string): Promise<string> {
  return (await execute("/usr/sbin/debugfs", ["-R", `cat ${file}`, disk.path])).stdout;
}

const uuidOf = async ({ path: file }: AttachedDevice) =>
  (await execute("/usr/sbin/blkid", ["-o", "value", "-s", "UUID", file])).stdout.trim();

/**
 * What the scripts install is taken from their cache: with all of a Debian it would come over the network. Without
 * partitions, which need device-mapper.
 */
describe.runIf(missing.debootstrap.length === 0)("debootstrap", () => {
  beforeAll(async () => {
    const [defaults, cache, root] = ["defaults", "cache", "root"].map((name) => path.join(nodes.base, name));
    if (defaults === undefined || cache === undefined || root === undefined) throw new Error("no places");
    for (const folder of ["bin", "etc/network", "root"]) await mkdir(path.join(root, folder), { recursive: true });
    await copyFile(BUSYBOX, path.join(root, "bin/busybox"));
    await symlink("busybox", path.join(root, "bin/passwd"));
    await writeFile(path.join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    await writeFile(path.join(root, "etc/shadow"), "root:*:20000:0:99999:7:::\n", { mode: 0o600 });
    await mkdir(cache);
    const { stdout: architecture } = await execute("/usr/bin/dpkg", ["--print-architecture"]);
    const tarball = path.join(cache, `cache-tiny-${architecture.trim()}.tar`);
    await execute("/usr/bin/tar", ["-cf", tarball, "-C", root, "."]);
    await writeFile(defaults, 'SUITE="tiny"\nPARTITION_STYLE="none"\nCUSTOMIZE_DIR=""\n');
    places["/etc/default/ganeti-instance-debootstrap"] = defaults;
    places["/var/cache/ganeti-instance-debootstrap"] = cache;
  });

  async function emptyDisk(name: string): Promise<AttachedDevice> {
    const disk = rawFile(path.join(nodes.base, name));
    await writeFile(disk.path, "");
    await truncate(disk.path, 512 * 1024 * 1024);
    return disk;
  }

  test("creates a file system, exports and imports it into another, and renames what is in it", async () => {
    const [disk, other] = [await emptyDisk("first"), await emptyDisk("second")];
    const os = "debootstrap+default";
    await nodes.source.os.create(requestFor(os, disk), signal);
    expect(await readIn(disk, "/etc/hostname")).toBe(`${INSTANCE}\n`);
    expect(await readIn(disk, "/etc/shadow")).toMatch(/^root::/);
    expect(await readIn(disk, "/etc/fstab")).toContain(`UUID=${await uuidOf(disk)}   /               ext4`);

    await overAnExport(os, disk, other);
    expect(await readIn(other, "/etc/hostname")).toBe(`${INSTANCE}\n`);
    expect(await readIn(other, "/etc/fstab")).toContain(`UUID=${await uuidOf(other)} `);
    expect(await uuidOf(other)).not.toBe(await uuidOf(disk));

    const renamed = requestFor(os, other, { name: "web2.example.com" });
    await nodes.source.os.rename(renamed, INSTANCE, signal);
    expect(await readIn(other, "/etc/hostname")).toBe("web2.example.com\n");
    await expect(nodes.source.os.rename(renamed, INSTANCE, signal)).rejects.toThrow(/different hostname/);
  });

  test("refuses a disk that is too small, in its own words, and leaves no loop device", async () => {
    const disk = await emptyDisk("small");
    await truncate(disk.path, 8 * 1024 * 1024);
    await expect(nodes.source.os.create(requestFor("debootstrap+default", disk), signal)).rejects.toThrow(
      /Device size is too small \(8 MB\)/,
    );
    expect((await execute("/usr/sbin/losetup", ["-a"])).stdout).not.toContain(disk.path);
  });
});

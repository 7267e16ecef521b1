/**
 * The interface of OS definitions as whole jobs keep to it (ganeti-os-interface(7)): Debian's unchanged ganeti-os-noop
 * takes an instance through an export and an import, and definitions of each version tell what they are given.
 */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { createInstance, NODES, SLOW_MS, startSimulatedCluster, THREE, TWO, told } from "./simulated-instances.ts";

const DEBIANS_NOOP = "/usr/share/ganeti/os/noop";
const OUR_NOOP = path.resolve(import.meta.dirname, "../../deploy/os/noop");
const hasDebians = existsSync(DEBIANS_NOOP);
if (!hasDebians) console.warn("Not exporting by Debian's noop: ganeti-os-noop is not installed");
const NOOP = hasDebians ? DEBIANS_NOOP : OUR_NOOP;

const MIB = 1024 * 1024;
/** Whole extents of LVM. */
const SIZES_MIB = [8, 4];
const PASSWORD = "correct horse";
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

let cluster: OneMachineCluster;
let osDir: string;
let seenDir: string;
beforeAll(async () => {
  cluster = await startSimulatedCluster();
  ({ osDir } = layoutOf(cluster.stateDir, NODES));
  seenDir = path.join(cluster.stateDir, "seen");
  await mkdir(seenDir);
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Made on node 1, exported to node 3, and made again from that on node 2 under another name, with the same contents. */
async function exportAndImport(name: string, copy: string, request: Readonly<Record<string, unknown>>): Promise<void> {
  const disks = SIZES_MIB.map((size) => ({ size }));
  await createInstance(cluster, name, { disk_template: "plain", snode: undefined, disks, start: false, ...request });
  const contents = SIZES_MIB.map((size, index) => Buffer.alloc(size * MIB, `disk ${index} of ${name};`));
  for (const [index, file] of (await disksOf(name)).entries()) await writeFile(file, contents[index] ?? "");
  const exported = await cluster.job("PUT", `/2/instances/${name}/export`, { destination: THREE, shutdown: false });
  expect(exported, told(exported)).toMatchObject({ status: "success", opresult: [[true, [true, true]]] });
  await cluster.succeed("POST", "/2/instances", {
    ...{ __version__: 1, mode: "import", instance_name: copy, src_node: THREE, src_path: name, pnode: TWO },
    ...{ disk_template: "file", disks: [], nics: [], start: false },
  });
  for (const [index, file] of (await disksOf(copy)).entries())
    expect((await readFile(file)).equals(contents[index] ?? Buffer.alloc(0)), `disk ${index}`).toBe(true);
}

async function disksOf(name: string): Promise<readonly string[]> {
  const { opresult } = await cluster.succeed("PUT", `/2/instances/${name}/activate-disks`);
  return (opresult as [[string, string, string][]])[0].map(([, , device]) => device);
}

test.runIf(hasDebians)("Debian's noop, unchanged, takes both disks of an instance out and in again", async () => {
  await symlink(DEBIANS_NOOP, path.join(osDir, "noop"));
  const [name, copy] = ["noop.gannet.test", "noop-copy.gannet.test"];
  await exportAndImport(name, copy, { os_type: "noop" });
  const { nodes } = layoutOf(cluster.stateDir, NODES);
  const logs = await Promise.all(
    nodes.map(async ({ dir }) => {
      const folder = path.join(dir, "state/os-logs");
      const names = await readdir(folder).catch(() => []);
      return names.filter((each) => each.includes("-noop")).map((each) => path.join(folder, each));
    }),
  );
  const kinds = logs.flat().map((file) => path.basename(file).split("-noop")[0]);
  expect(kinds.sort()).toEqual(["add", "export", "export", "import", "import", "rename"]);
  // Its dd says how much it has read, or written.
  for (const file of logs.flat().filter((each) => /\/(ex|im)port-/.test(each)))
    expect(await readFile(file, "utf8")).toMatch(/^(8388608|4194304) bytes/m);
  for (const each of [name, copy]) await cluster.succeed("DELETE", `/2/instances/${each}`);
});

type Script = "create" | "export" | "import" | "rename" | "verify";

/** What a script was given. */
interface Given {
  readonly environment: Readonly<Record<string, string>>;
  readonly args: string;
  readonly cwd: string;
  readonly stdin: string;
  /** Numbers of its open files. */
  readonly descriptors: string;
}

/** A definition that does as noop does, and tells what each script is given. */
async function defineTelling(os: string, apiVersion: number): Promise<void> {
  const folder = path.join(osDir, os);
  await mkdir(folder);
  await writeFile(path.join(folder, "ganeti_api_version"), `${apiVersion}\n`);
  if (apiVersion >= 15) await writeFile(path.join(folder, "variants.list"), "small\nlarge\n");
  if (apiVersion >= 20) await writeFile(path.join(folder, "parameters.list"), "root-password Of root\n");
  const scripts: readonly Script[] = [
    "create",
    "export",
    "import",
    "rename",
    ...(apiVersion >= 20 ? (["verify"] as const) : []),
  ];
  for (const script of scripts) {
    const seen = `${seenDir}/${os}-${script}`;
    const then = script === "verify" ? "exit 0" : `exec ${NOOP}/${script}`;
    const tell = [
      `disk=\${IMPORT_INDEX:-$EXPORT_INDEX}`,
      `tr '\\0' '\\n' < /proc/$$/environ > "${seen}$disk.environment"`,
      `printf '%s\\n' "$*" "$PWD" > "${seen}$disk.rest"`,
      `readlink /proc/$$/fd/0 >> "${seen}$disk.rest"`,
      `ls /proc/$$/fd > "${seen}$disk.descriptors"`,
    ];
    await writeFile(path.join(folder, script), ["#!/bin/bash", ...tell, then, ""].join("\n"), { mode: 0o755 });
  }
}

/** @param disk - of an import or export */
async function given(os: string, script: Script, disk: number | "" = ""): Promise<Given> {
  const read = async (what: string) => readFile(path.join(seenDir, `${os}-${script}${disk}.${what}`), "utf8");
  const environment = Object.fromEntries(
    (await read("environment"))
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
  const [args = "", cwd = "", stdin = ""] = (await read("rest")).split("\n");
  // Bash has the script itself open, by a number of its own choice.
  const descriptors = (await read("descriptors")).match(/^\d$/gm)?.join(" ") ?? "";
  return { environment, args, cwd, stdin, descriptors };
}

const ofInstance = (names: readonly string[]) => names.filter((name) => !/^INSTANCE_(BE|HV)_/.test(name)).sort();
const DISK = ["PATH", "ACCESS", "UUID", "SIZE", "BACKEND_TYPE"];
const INSTANCE_VARIABLES = [
  ...["NAME", "UUID", "OS", "CTIME", "MTIME", "PRIMARY_NODE", "SECONDARY_NODES"].map((name) => `INSTANCE_${name}`),
  ...["HYPERVISOR", "DISK_COUNT", "NIC_COUNT"],
  ...[0, 1].flatMap((index) => DISK.map((name) => `DISK_${index}_${name}`)),
  ...["MAC", "UUID", "MODE", "LINK", "BRIDGE"].map((name) => `NIC_0_${name}`),
];

test.each([
  [10, "", ["OS_API_VERSION", "OS_NAME", "DEBUG_LEVEL", "PATH", "LC_ALL"]],
  [15, "+large", ["OS_API_VERSION", "OS_NAME", "OS_VARIANT", "DEBUG_LEVEL", "PATH", "LC_ALL"]],
  [20, "+large", ["OS_API_VERSION", "OS_NAME", "OS_VARIANT", "OSP_ROOT_PASSWORD", "DEBUG_LEVEL", "PATH", "LC_ALL"]],
])("scripts of version %i are given what the interface says, and nothing else", async (version, variant, core) => {
  const os = `telling${version}`;
  const [name, copy] = [`${os}.gannet.test`, `${os}-copy.gannet.test`];
  await defineTelling(os, version);
  await exportAndImport(name, copy, {
    os_type: `${os}${variant}`,
    ...(version >= 20 && { osparams: { "root-password": PASSWORD } }),
  });
  const values = {
    ...{ OS_API_VERSION: String(version), OS_NAME: os, DEBUG_LEVEL: "0", PATH: "/sbin:/bin:/usr/sbin:/usr/bin" },
    ...(version >= 15 && { OS_VARIANT: "large" }),
    ...(version >= 20 && { OSP_ROOT_PASSWORD: PASSWORD }),
  };
  const cwd = path.join(osDir, os);

  if (version >= 20) {
    const verified = await given(os, "verify");
    expect(verified).toMatchObject({ args: "parameters", cwd, stdin: "/dev/null", environment: values });
    expect(Object.keys(verified.environment).sort()).toEqual([...core].sort());
  }

  const created = await given(os, "create");
  expect(created).toMatchObject({ args: "", cwd, stdin: "/dev/null", descriptors: "0 1 2" });
  expect(ofInstance(Object.keys(created.environment))).toEqual([...core, ...INSTANCE_VARIABLES].sort());
  expect(created.environment).toMatchObject({
    ...{ ...values, INSTANCE_NAME: name, INSTANCE_OS: `${os}${variant}`, HYPERVISOR: "fake", INSTANCE_BE_maxmem: "64" },
    ...{ DISK_COUNT: "2", DISK_0_SIZE: "8", DISK_1_SIZE: "4", DISK_1_ACCESS: "rw" },
    // A volume that is simulated is a file.
    DISK_0_BACKEND_TYPE: "file:loop",
    ...{ NIC_COUNT: "1", NIC_0_MODE: "bridged", INSTANCE_SECONDARY_NODES: "", INSTANCE_BE_auto_balance: "True" },
    INSTANCE_CTIME: expect.stringMatching(/^\d+\.\d+$/),
  });

  for (const index of [0, 1]) {
    const exported = await given(os, "export", index);
    expect(exported).toMatchObject({ args: "", cwd, stdin: "/dev/null", descriptors: "0 1 2 3" });
    const { EXPORT_DEVICE, EXPORT_DISK_PATH, EXPORT_INDEX, EXP_SIZE_FD, ...ofExport } = exported.environment;
    expect(ofInstance(Object.keys(ofExport))).toEqual([...core, ...INSTANCE_VARIABLES].sort());
    expect({ EXPORT_INDEX, EXP_SIZE_FD, EXPORT_DISK_PATH }).toEqual({
      ...{ EXPORT_INDEX: String(index), EXP_SIZE_FD: "3", EXPORT_DISK_PATH: EXPORT_DEVICE },
    });
    expect(ofExport).toMatchObject({ ...values, INSTANCE_NAME: name });

    const imported = await given(os, "import", index);
    expect(imported).toMatchObject({ args: "", cwd, stdin: expect.stringMatching(/pipe/), descriptors: "0 1 2" });
    const { IMPORT_DEVICE, IMPORT_DISK_PATH, IMPORT_INDEX, ...ofImport } = imported.environment;
    expect(ofInstance(Object.keys(ofImport))).toEqual([...core, ...INSTANCE_VARIABLES].sort());
    expect({ IMPORT_DEVICE, IMPORT_INDEX }).toEqual({ IMPORT_DEVICE: IMPORT_DISK_PATH, IMPORT_INDEX: String(index) });
    expect(ofImport).toMatchObject({ ...values, INSTANCE_NAME: copy, [`DISK_${index}_PATH`]: IMPORT_DEVICE });
    expect(ofImport).toMatchObject({ DISK_0_BACKEND_TYPE: "file:loop", INSTANCE_BE_maxmem: "64" });
  }

  const renamed = await given(os, "rename");
  const { OLD_INSTANCE_NAME, ...ofRename } = renamed.environment;
  expect(renamed).toMatchObject({ args: "", cwd, stdin: "/dev/null", descriptors: "0 1 2" });
  expect(ofInstance(Object.keys(ofRename))).toEqual([...core, ...INSTANCE_VARIABLES].sort());
  expect(OLD_INSTANCE_NAME).toBe(name);
  expect(ofRename).toMatchObject({ ...values, INSTANCE_NAME: copy });
  for (const each of [name, copy]) await cluster.succeed("DELETE", `/2/instances/${each}`);
});

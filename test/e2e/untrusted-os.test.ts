/** An OS definition with an untrusted script only: qemu boots a machine that is told of it on a disk, and answers there. */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { processesOf } from "./cluster-processes.ts";

const NAME = "inside.gannet.test";
const NODE = "node1.gannet.test";
const SECRET = "only-the-machine-is-told";
const SECTOR = 512;
const COPIED_SECTORS = 8;
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const QEMU = "/usr/bin/qemu-system-x86_64";
if (!existsSync(QEMU)) console.log(`skipped: there is no ${QEMU}`);

/**
 * A boot sector: by the firmware's own calls it copies the beginning of the third disk, which tells what to do, to the
 * second, which is the instance's; writes the result over it; and powers the machine off by ACPI.
 */
function bootSector(result: string, lastStep: readonly number[]): Buffer {
  const program = [
    ...[0x31, 0xc0, 0x8e, 0xd8], // ds = 0
    ...[0xbe, 0x40, 0x7c, 0xb4, 0x42, 0xb2, 0x82, 0xcd, 0x13], // int 13h: read from the third disk
    ...[0xbe, 0x40, 0x7c, 0xb4, 0x43, 0xb0, 0x00, 0xb2, 0x81, 0xcd, 0x13], // write to the second
    ...[0xbe, 0x50, 0x7c, 0xb4, 0x43, 0xb0, 0x00, 0xb2, 0x82, 0xcd, 0x13], // write the result to the third
    ...lastStep,
    ...[0xf4, 0xeb, 0xfd], // halt, for ever
  ];
  const sector = Buffer.alloc(SECTOR);
  Buffer.from(program).copy(sector);
  Buffer.from([0x10, 0x00, COPIED_SECTORS, 0x00, 0x00, 0x00, 0x00, 0x20]).copy(sector, 0x40);
  Buffer.from([0x10, 0x00, 0x01, 0x00, 0x00, 0x7d, 0x00, 0x00]).copy(sector, 0x50);
  sector.write(result, 0x100);
  sector.writeUInt16LE(0xaa55, SECTOR - 2);
  return sector;
}
const POWER_OFF = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];

let cluster: OneMachineCluster;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-inside-"));
  await writeFile(path.join(folder, "well.raw"), bootSector("gannet-result 0 0\n", POWER_OFF));
  await writeFile(path.join(folder, "badly.raw"), bootSector("gannet-result 7 8\nno luck\n", POWER_OFF));
  await writeFile(path.join(folder, "silent.raw"), bootSector("", POWER_OFF));
  await writeFile(path.join(folder, "endless.raw"), bootSector("gannet-result 0 0\n", []));
  const stateDir = path.join(folder, "state");
  await writeDefinition(path.join(stateDir, "os/inside"));
  cluster = await OneMachineCluster.start({ nodes: 1, hypervisors: "kvm,fake", stateDir });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function writeDefinition(place: string): Promise<void> {
  await mkdir(place, { recursive: true });
  await writeFile(path.join(place, "ganeti_api_version"), "20\n");
  await writeFile(path.join(place, "parameters.list"), "password Of root\n");
  for (const script of ["create_untrusted", "import", "export", "rename", "verify"])
    await writeFile(path.join(place, script), "#!/bin/sh\nexit 0\n", { mode: 0o755 });
}

async function create(image: string, more: object = {}) {
  await cluster.succeed("PUT", "/2/modify", { install_image: path.join(folder, image) });
  return await cluster.job("POST", "/2/instances", {
    ...{ __version__: 1, mode: "create", instance_name: NAME, disk_template: "file", disks: [{ size: 2 }], nics: [] },
    ...{ os_type: "inside", osparams_secret: { password: SECRET }, pnode: NODE, hypervisor: "kvm", start: false },
    beparams: { memory: 64, vcpus: 1 },
    hvparams: { boot_order: "network", kvm_flag: "disabled" },
    ...more,
  });
}

/** Files of disks, wherever the node keeps them. */
async function diskFiles(): Promise<readonly string[]> {
  const [node] = layoutOf(cluster.stateDir, 1).nodes;
  const names = await readdir(path.join(node?.dir ?? "", "root"), { recursive: true, withFileTypes: true });
  return names.filter((each) => each.isFile()).map(({ parentPath, name }) => path.join(parentPath, name));
}

test.skipIf(!existsSync(QEMU))(
  "the machine has the script and its secrets, and what it writes is installed",
  async () => {
    const job = await create("well.raw");
    expect(job, JSON.stringify(job.opresult)).toMatchObject({ status: "success" });
    const [disk = "", ...others] = await diskFiles();
    expect(others, "nothing of the machine is left").toEqual([]);
    const contents = await readFile(disk, "latin1");
    expect(contents.startsWith("gannet-install/environment\0")).toBe(true);
    expect(contents).toContain(`export OSP_PASSWORD='${SECRET}'\n`);
    expect(contents).toContain("export DISK_0_PATH='/dev/vdb'\n");
    await cluster.succeed("DELETE", `/2/instances/${NAME}`);
  },
);

test.skipIf(!existsSync(QEMU)).each([
  ["badly.raw", {}, /failed with exit code 7\. Its last lines:\\nno luck/],
  ["silent.raw", {}, /ended without telling how the script did/],
  ["endless.raw", { helper_shutdown_timeout: 2 }, /did not end within 2 s; the machine is killed/],
])("of %s with %j nothing is left", async (image, more, words) => {
  const job = await create(image, more);
  expect(job.status).toBe("error");
  expect(JSON.stringify(job.opresult)).toMatch(words);
  expect((await cluster.rapi("GET", `/2/instances/${NAME}`)).status).toBe(404);
  expect(await diskFiles()).toEqual([]);
  expect(processesOf(cluster.stateDir).filter(({ command }) => command.startsWith(QEMU))).toEqual([]);
});

/** A machine that is booted over an instance's disks by qemu, does its work and switches itself off. */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { processesOf } from "./cluster-processes.ts";

const NAME = "zeroed.gannet.test";
const NODE = "node1.gannet.test";
const MIB = 1024 * 1024;
const SECTOR = 512;
/** What the machine overwrites of the disk behind its own, in sectors. */
const FIRST = 64;
const COUNT = 8;
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const QEMU = "/usr/bin/qemu-system-x86_64";
if (!existsSync(QEMU)) console.log(`skipped: there is no ${QEMU}`);

/** A boot sector: it writes zeros to the second disk by the firmware's own calls, and powers the machine off by ACPI. */
function bootSector(lastStep: readonly number[]): Buffer {
  const program = [
    ...[0x31, 0xc0, 0x8e, 0xd8], // ds = 0
    ...[0xb8, 0x00, 0x20, 0x8e, 0xc0, 0x31, 0xff], // es:di = 2000:0000
    ...[0x31, 0xc0, 0xb9, 0x00, 0x08, 0xfc, 0xf3, 0xab], // 4 KiB of zeros there
    ...[0xbe, 0x40, 0x7c], // si: the request below
    ...[0xb4, 0x43, 0xb0, 0x00, 0xb2, 0x81, 0xcd, 0x13], // int 13h: write to the second disk
    ...lastStep,
    ...[0xf4, 0xeb, 0xfd], // halt, for ever
  ];
  const sector = Buffer.alloc(SECTOR);
  Buffer.from(program).copy(sector);
  Buffer.from([0x10, 0x00, COUNT, 0x00, 0x00, 0x00, 0x00, 0x20, FIRST]).copy(sector, 0x40);
  sector.writeUInt16LE(0xaa55, SECTOR - 2);
  return sector;
}
const POWER_OFF = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef];

let cluster: OneMachineCluster;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "gannet-zeroing-"));
  await writeFile(path.join(folder, "zeroing.raw"), bootSector(POWER_OFF));
  await writeFile(path.join(folder, "endless.raw"), bootSector([]));
  cluster = await OneMachineCluster.start({ nodes: 1, hypervisors: "kvm,fake" });
  await cluster.succeed("POST", "/2/instances", {
    __version__: 1,
    mode: "create",
    instance_name: NAME,
    disk_template: "file",
    disks: [{ size: 2 }],
    nics: [],
    os_type: "noop",
    pnode: NODE,
    hypervisor: "kvm",
    beparams: { memory: 64, vcpus: 1 },
    hvparams: { boot_order: "network", kvm_flag: "disabled" },
    start: false,
  });
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test.skipIf(!existsSync(QEMU))(
  "what its disks hold afterwards is exported, and nothing of the machine is left",
  async () => {
    const { opresult } = await cluster.succeed("PUT", `/2/instances/${NAME}/activate-disks`);
    const [[[, , disk]]] = opresult as [[[string, string, string]]];
    await writeFile(disk, Buffer.alloc(2 * MIB, "x"));
    await cluster.succeed("PUT", `/2/instances/${NAME}/deactivate-disks`);
    await cluster.succeed("PUT", "/2/modify", { zeroing_image: path.join(folder, "zeroing.raw") });

    await cluster.succeed("PUT", `/2/instances/${NAME}/export`, {
      destination: NODE,
      zero_free_space: true,
      long_sleep: true,
    });
    const [node] = layoutOf(cluster.stateDir, 1).nodes;
    const exported = path.join(node?.dir ?? "", "state/export", NAME);
    const [dump = ""] = (await readdir(exported)).filter((name) => name !== "config.ini");
    const contents = await readFile(path.join(exported, dump));
    const expected = Buffer.alloc(2 * MIB, "x").fill(0, FIRST * SECTOR, (FIRST + COUNT) * SECTOR);
    expect(contents.equals(expected)).toBe(true);
    expect((await cluster.rapi("GET", `/2/instances/${NAME}`)).body).toMatchObject({
      status: "ADMIN_down",
      "disk.sizes": [2],
    });
    const files = await readdir(path.dirname(disk));
    expect(
      files.filter((name) => !name.includes(path.basename(disk))),
      "of the machine's own disk",
    ).toEqual([]);
  },
);

test.skipIf(!existsSync(QEMU))("one that does not end is killed when its time is over", async () => {
  await cluster.succeed("PUT", "/2/modify", { zeroing_image: path.join(folder, "endless.raw") });
  const job = await cluster.job("PUT", `/2/instances/${NAME}/export`, {
    destination: NODE,
    zero_free_space: true,
    zeroing_timeout_fixed: 2,
    zeroing_timeout_per_mib: 0,
    long_sleep: true,
  });
  expect(job.status).toBe("error");
  expect(JSON.stringify(job.opresult)).toMatch(/did not end within 2 s; the machine is killed/);
  expect(processesOf(cluster.stateDir).filter(({ command }) => command.startsWith(QEMU))).toEqual([]);
});

/** The file driver over a temporary folder, with what the conformance checks need around it. */
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import type { BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { RootSpaces } from "../../src/block-devices/file/root-space.ts";
import { createBlockDevices } from "../../src/block-devices/index.ts";
import { createLvm } from "../../src/block-devices/lvm/lvm.ts";
import { openRawView } from "../../src/block-devices/raw-view.ts";
import { SYSTEM_STORAGE_TOOLS } from "../../src/block-devices/storage-tools.ts";
import { LogFolder } from "../../src/log-folder.ts";

const NEVER = new AbortController().signal;

export interface FileSubject extends BlockDeviceSubject {
  /** The allowed root. */
  readonly root: string;
  /** Holds the root and a folder `outside` that must stay empty. */
  readonly base: string;
  deviceAt(target: string, changes?: Partial<BlockDeviceSpec>): BlockDeviceSpec;
  close(): Promise<void>;
}

/** @param format - of its disks; what is read and written of them is their plain contents */
export async function fileSubject(
  template: "file" | "sharedfile",
  existingRoot?: string,
  format: "raw" | "qcow2" = "raw",
): Promise<FileSubject> {
  const base = await mkdtemp(path.join(tmpdir(), "gannet-file-"));
  const root = existingRoot ?? path.join(base, "root");
  const outside = path.join(base, "outside");
  await mkdir(root, { recursive: true });
  await mkdir(outside);
  await symlink(outside, path.join(root, "escape"));
  const logger = silentLogger();
  const runner = createCommandRunner({ logger });
  const allowed = { roots: [root] };
  const driver = createBlockDevices({
    fileStorage: allowed,
    sharedFileStorage: allowed,
    spaces: new RootSpaces({ runner, lockFolder: `${base}-locks` }),
    glusterStorageDir: "/nowhere",
    logs: new LogFolder(`${base}-logs`),
    tools: SYSTEM_STORAGE_TOOLS,
    lvm: createLvm({ runner, tools: SYSTEM_STORAGE_TOOLS }),
    runner,
    logger,
  }).driver(template);

  const deviceAt = (target: string, changes: Partial<BlockDeviceSpec> = {}): BlockDeviceSpec => ({
    uuid: randomUUID(),
    template,
    logicalId: ["loop", target],
    sizeMib: 4,
    mode: "rw",
    instanceName: "web1.example.com",
    index: 0,
    params: format === "raw" ? {} : { format },
    children: [],
    ...changes,
  });

  return {
    driver,
    root,
    base,
    deviceAt,
    newDevice: () => deviceAt(path.join(root, "web1.example.com", `${randomUUID()}.${template}.disk0`)),
    hostileDevices: () =>
      [
        "relative/disk0",
        `${root}/../outside/disk0`,
        `${root}/./disk0`,
        `${root}//disk0`,
        `${root}/a/../../outside/disk0`,
        `${root}/disk0/`,
        root,
        `${root}-beside/disk0`,
        `${outside}/disk0`,
        `${root}/escape/disk0`,
        `${root}/escape/deeper/disk0`,
        `${root}/nul\0/disk0`,
        `${root}/line\nbreak`,
        `${root}/${"x".repeat(300)}`,
        `${root}/${"x/".repeat(2500)}disk0`,
        "/etc/passwd",
        "/",
        "",
      ].map((target) => deviceAt(target)),
    occupy: async (device) => {
      const target = String(device.logicalId[1]);
      await mkdir(path.dirname(target), { recursive: true });
      await writeFile(target, "somebody's data");
      return {
        isUntouched: async () => (await readFile(target, "utf8")) === "somebody's data",
        clear: () => rm(path.dirname(target), { recursive: true }),
      };
    },
    inventory: async () => (await readdir(base, { recursive: true })).sort(),
    write: async (attached, text) => {
      await using view = await openRawView(runner, attached, NEVER);
      await using file = await open(view.disk.path, "r+");
      await file.write(text, 0);
      await view.keep(NEVER);
    },
    read: async (attached, bytes) => {
      await using view = await openRawView(runner, attached, NEVER);
      await using file = await open(view.disk.path);
      return (await file.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer.toString();
    },
    close: async () => {
      // Beside it: what drivers leave in it is looked at.
      for (const folder of [base, `${base}-locks`]) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The order of the driver's commands with the kernel module 9, which answers here from a script. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDrbdDriver } from "../../../src/block-devices/drbd/drbd-driver.ts";
import { createDrbdFacts } from "../../../src/block-devices/drbd/drbd-facts.ts";
import type { VolumeDriver } from "../../../src/block-devices/drbd/drbd-volumes.ts";
import type { StorageTools } from "../../../src/block-devices/storage-tools.ts";
import { type DrbdPair, drbdPair, type MirroredDriver, never } from "./drbd-pair.ts";
import { fileVolumes } from "./file-volumes.ts";

const VERSION = "version: 9.1.7 (api:2/proto:110-121)\nGIT-hash: 0 build by test\nTransports (api:16):\n";

let pair: DrbdPair;
let tools: StorageTools;
let plain: VolumeDriver;
let driver: MirroredDriver;
const lines: string[] = [];
/** What the kernel is said to have come to by the commands so far. */
let state = { role: "Secondary", disk: "Diskless", connection: "" };

beforeAll(async () => {
  pair = await drbdPair({ inProcess: true });
  const base = await mkdtemp(path.join(tmpdir(), "gannet-drbd9-"));
  tools = {
    binFolder: "/usr/sbin",
    deviceFolder: base,
    drbdStatusFile: path.join(base, "proc-drbd"),
    drbdHelperFile: path.join(base, "helper"),
  };
  await writeFile(tools.drbdStatusFile, VERSION);
  await writeFile(tools.drbdHelperFile, "/bin/true\n");
  plain = fileVolumes(base);
  driver = createDrbdDriver({ tools, runner, logger: silentLogger(), plain });
});
afterAll(async () => {
  await pair.close();
  await rm(tools.deviceFolder, { recursive: true });
});

const runner: CommandRunner = {
  run: async ({ argv: [program, ...args] }) => {
    const [command = ""] = args;
    const tool = path.basename(program);
    const isQuestion = ["show", "events2"].includes(command);
    if (!isQuestion)
      lines.push([tool, tool === "drbdmeta" ? args.slice(5).join(" ") : args.slice(0, 3).join(" ")].join(" "));
    if (command === "new-minor") await writeFile(path.join(tools.deviceFolder, `drbd${args[2]}`), "");
    if (command === "attach") state = { ...state, disk: "UpToDate" };
    if (command === "connect") state = { ...state, connection: "Connecting" };
    if (command === "primary") state = { ...state, role: "Primary" };
    const stdout = command === "events2" ? events() : "";
    return { exitCode: 0, stdout, stderr: "", truncated: false, durationMs: 0 };
  },
};

function events(): string {
  const { role, disk, connection } = state;
  return [
    `exists resource name:resource1 role:${role} suspended:no`,
    ...(connection === ""
      ? []
      : [`exists connection name:resource1 peer-node-id:1 conn-name:peer connection:${connection} role:Unknown`]),
    `exists device name:resource1 volume:0 minor:1 disk:${disk} size:4096`,
    "exists -\n",
  ].join("\n");
}

test("an end is brought up: resource, device, volumes, peer, path, connection, speed, role", async () => {
  const disk = pair.newDisk();
  for (const volume of disk.children) await plain.create(volume, never());
  const attached = await driver.assemble(disk, never());
  expect(attached.path).toBe(path.join(tools.deviceFolder, "drbd1"));
  expect(lines).toEqual([
    "drbdsetup new-resource resource1 0",
    "drbdsetup new-minor resource1 1",
    "drbdmeta apply-al",
    `drbdsetup attach 1 ${path.join(tools.deviceFolder, "xenvg", String(disk.children[0]?.logicalId[1]))}`,
    "drbdsetup new-peer resource1 1",
    "drbdsetup new-path resource1 1",
    "drbdsetup connect resource1 1",
    "drbdsetup peer-device-options resource1 1",
    "drbdsetup primary resource1",
  ]);
  expect(await driver.mirrorStatus(disk, never())).toMatchObject({ role: "primary", connection: "connecting" });
});

test("the minors in use are those that have a device", async () => {
  expect(await createDrbdFacts({ tools })(never())).toEqual({
    ...{ version: "9.1.7", minors: [1], usermodeHelper: "/bin/true" },
  });
});

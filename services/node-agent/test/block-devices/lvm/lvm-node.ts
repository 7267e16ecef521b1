/** A node with simulated LVM, and the plain driver over it. */
import { randomUUID } from "node:crypto";
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import type { BlockDeviceSubject } from "@gannet/driver-contract/conformance";
import { type Command, type CommandRunner, createCommandRunner } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { clearFault, setFault, type ToolFault } from "../../../../../test/simulated-tools/faults.ts";
import { installSimulatedTools } from "../../../../../test/simulated-tools/install.ts";
import { losePhysicalVolume } from "../../../../../test/simulated-tools/lvm/state.ts";
import { createLvm, type Lvm } from "../../../src/block-devices/lvm/lvm.ts";
import { createPlainDriver, type PlainDriver } from "../../../src/block-devices/lvm/plain-driver.ts";
import type { StorageTools } from "../../../src/block-devices/storage-tools.ts";

export interface LvmNode extends BlockDeviceSubject, AsyncDisposable {
  readonly driver: PlainDriver;
  readonly lvm: Lvm;
  readonly folder: string;
  readonly tools: StorageTools;
  readonly runner: CommandRunner;
  /** Command lines that the driver ran, their folder left out; emptied by the reader. */
  takeCommands(): readonly string[];
  device(changes?: Partial<BlockDeviceSpec>): BlockDeviceSpec;
  /** Run a tool by hand. @returns its standard output */
  tool(name: string, ...args: string[]): Promise<string>;
  fault(tool: string, fault: ToolFault): void;
  mend(tool: string): void;
  losePhysicalVolume(name: string): Promise<void>;
}

const HOSTILE_NAMES = [
  ...["-rf", "--help", "..", ".", "", "a/b", "../xenvg/disk0", "a b", "a\nb", "a\0b", "a;b", "$(id)", "@tag", "dïsk"],
  ...["x".repeat(128), "x".repeat(10_000)],
];
const RESERVED_VOLUME_NAMES = ["snapshot0", "pvmove0", "disk_mlog", "disk_rimage_0"];

/** Group `xenvg` on three physical volumes of 1 GiB, and `othervg` on one. Extents of 1 MiB keep sizes as asked. */
export async function startLvmNode(
  options: { readonly extentMib?: number; readonly knownMs?: number } = {},
): Promise<LvmNode> {
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-lvm-"));
  const extentMib = options.extentMib ?? 1;
  const physicalVolume = (name: string) => ({ name, sizeMib: 1025 });
  const tools = await installSimulatedTools({
    folder,
    volumeGroups: [
      { name: "xenvg", extentMib, physicalVolumes: ["/dev/vdb", "/dev/vdc", "/dev/vdd"].map(physicalVolume) },
      { name: "othervg", extentMib, physicalVolumes: [physicalVolume("/dev/vde")] },
    ],
  });
  const logger = silentLogger();
  const commands: string[] = [];
  const real = createCommandRunner({ logger, killGraceMs: 100 });
  const runner: CommandRunner = {
    run: (command: Command) => {
      commands.push([path.basename(command.argv[0]), ...command.argv.slice(1)].join(" "));
      return real.run(command);
    },
  };
  const lvm = createLvm({ runner, tools, knownMs: options.knownMs ?? 0 });
  const driver = createPlainDriver({ lvm, deviceFolder: tools.deviceFolder, logger });
  const tool = async (name: string, ...args: string[]) =>
    (await real.run({ argv: [path.join(tools.binFolder, name), ...args], timeoutMs: 10_000 })).stdout;

  const device = (changes: Partial<BlockDeviceSpec> = {}): BlockDeviceSpec => ({
    uuid: randomUUID(),
    template: "plain",
    logicalId: ["xenvg", `${randomUUID()}.disk0`],
    sizeMib: 4,
    mode: "rw",
    instanceName: "web1.example.com",
    index: 0,
    params: {},
    children: [],
    ...changes,
  });

  return {
    ...{ driver, lvm, folder, tools, runner, device, tool },
    takeCommands: () => commands.splice(0),
    newDevice: () => device(),
    hostileDevices: () => [
      ...HOSTILE_NAMES.map((name) => device({ logicalId: [name, "disk0"] })),
      ...[...HOSTILE_NAMES, ...RESERVED_VOLUME_NAMES].map((name) => device({ logicalId: ["xenvg", name] })),
    ],
    occupy: async (occupied) => {
      const name = occupied.logicalId.join("/");
      await tool("lvcreate", "-L2m", `-n${occupied.logicalId[1]}`, String(occupied.logicalId[0]));
      const before = await tool("lvs", "--noheadings", "-o", "lv_size,lv_tags,lv_attr", name);
      return {
        isUntouched: async () => (await tool("lvs", "--noheadings", "-o", "lv_size,lv_tags,lv_attr", name)) === before,
        clear: async () => void (await tool("lvremove", "-f", name)),
      };
    },
    // What the tools would tell, without the time that they take.
    inventory: async () => [
      await readFile(path.join(folder, "lvm.json"), "utf8"),
      ...(await readdir(tools.deviceFolder, { recursive: true })).sort(),
      ...(await readdir(path.join(folder, "volumes"))).sort(),
    ],
    write: async (attached, text) => {
      await using file = await open(attached.path, "r+");
      await file.write(text, 0);
    },
    read: async (attached, bytes) => {
      await using file = await open(attached.path);
      return (await file.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer.toString();
    },
    fault: (name, fault) => setFault(folder, name, fault),
    mend: (name) => clearFault(folder, name),
    losePhysicalVolume: (name) => losePhysicalVolume(folder, name),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true }),
  };
}

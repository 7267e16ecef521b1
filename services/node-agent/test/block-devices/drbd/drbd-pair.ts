/** Two nodes with simulated storage tools and a DRBD driver each, over one network. */
import { randomUUID } from "node:crypto";
import { mkdtemp, open, readdir, readFile, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import type {
  AttachedDevice,
  BlockDeviceDriver,
  BlockDeviceSpec,
  MirroringDriver,
  MirrorStatus,
} from "@gannet/driver-contract";
import { CommandError } from "@gannet/errors";
import { type Command, type CommandResult, type CommandRunner, createCommandRunner, formatCommand } from "@gannet/exec";
import { silentLogger } from "@gannet/telemetry";
import { drbdmeta } from "../../../../../test/simulated-tools/drbd/drbdmeta-commands.ts";
import { drbdsetup } from "../../../../../test/simulated-tools/drbd/drbdsetup-commands.ts";
import { networkOf, type World } from "../../../../../test/simulated-tools/drbd/world.ts";
import { installSimulatedTools, type SimulatedStorageTools } from "../../../../../test/simulated-tools/install.ts";
import { createDrbdDriver } from "../../../src/block-devices/drbd/drbd-driver.ts";
import type { VolumeDriver } from "../../../src/block-devices/drbd/drbd-volumes.ts";
import { createLvm } from "../../../src/block-devices/lvm/lvm.ts";
import { createPlainDriver } from "../../../src/block-devices/lvm/plain-driver.ts";
import { fileVolumes } from "./file-volumes.ts";

export type MirroredDriver = BlockDeviceDriver & MirroringDriver;

/** One of the two nodes. */
export interface PairNode {
  readonly folder: string;
  readonly address: string;
  readonly tools: SimulatedStorageTools;
  readonly driver: MirroredDriver;
  readonly plain: VolumeDriver;
  /** Those it was given, last last. */
  readonly commands: Command[];
  readonly runner: CommandRunner;
  /** The agent started again, or with another way to run commands. */
  newDriver(runner?: CommandRunner): MirroredDriver;
}

export interface DrbdPair {
  readonly first: PairNode;
  readonly second: PairNode;
  /** A new disk as the first node sees it. */
  newDisk(changes?: Partial<BlockDeviceSpec>): BlockDeviceSpec;
  /** The same disk as the second node sees it. */
  mirrored(disk: BlockDeviceSpec): BlockDeviceSpec;
  close(): Promise<void>;
}

export const SECRET = "0123456789abcdef0123456789abcdef01234567";
const VOLUME_GROUP_MIB = 4096;
const FIRST_PORT = 11_000;

/** @param options.inProcess - DRBD's tools are called and not started, and volumes are files: a tenth of the time */
export async function drbdPair(options: { readonly inProcess?: boolean } = {}): Promise<DrbdPair> {
  const base = await realpath(await mkdtemp(path.join(tmpdir(), "gannet-drbd-")));
  const first = await pairNode(base, { name: "node1", address: "192.0.2.1" }, options);
  const second = await pairNode(base, { name: "node2", address: "192.0.2.2" }, options);
  let disks = 0;
  return {
    first,
    second,
    newDisk: (changes = {}) => {
      disks += 1;
      const name = randomUUID();
      const sizeMib = changes.sizeMib ?? 4;
      const volume = (kind: string, volumeMib: number): BlockDeviceSpec => ({
        ...{ uuid: randomUUID(), template: "plain", logicalId: ["xenvg", `${name}.disk0_${kind}`], sizeMib: volumeMib },
        ...{ mode: "rw", instanceName: "web1.example.com", index: 0, params: {}, children: [] },
      });
      return {
        uuid: randomUUID(),
        template: "drbd",
        logicalId: [randomUUID(), randomUUID(), FIRST_PORT + disks, disks, disks + 100],
        sizeMib,
        mode: "rw",
        instanceName: "web1.example.com",
        index: 0,
        params: {},
        children: [volume("data", sizeMib), volume("meta", 128)],
        link: {
          local: { address: first.address, minor: disks },
          peer: { address: second.address, minor: disks + 100 },
          port: FIRST_PORT + disks,
          secret: SECRET,
        },
        ...changes,
      };
    },
    mirrored: (disk) =>
      disk.link === undefined
        ? disk
        : { ...disk, link: { ...disk.link, local: disk.link.peer, peer: disk.link.local } },
    close: () => rm(base, { recursive: true, maxRetries: 20, retryDelay: 50 }),
  };
}

async function pairNode(
  base: string,
  { name, address }: { readonly name: string; readonly address: string },
  options: { readonly inProcess?: boolean },
): Promise<PairNode> {
  const folder = path.join(base, name);
  const tools = await installSimulatedTools({
    folder,
    volumeGroups: [
      { name: "xenvg", extentMib: 1, physicalVolumes: [{ name: "/dev/vdb", sizeMib: VOLUME_GROUP_MIB + 1 }] },
    ],
    networkFolder: path.join(base, "network"),
  });
  const logger = silentLogger();
  const commands: Command[] = [];
  const real = createCommandRunner({ logger, killGraceMs: 200 });
  const runner: CommandRunner = {
    run: (command) => {
      commands.push(command);
      return options.inProcess ? callTool(folder, command, real) : real.run(command);
    },
  };
  const plain = options.inProcess
    ? fileVolumes(tools.deviceFolder)
    : createPlainDriver({ lvm: createLvm({ runner, tools }), deviceFolder: tools.deviceFolder, logger });
  const newDriver = (used = runner) => createDrbdDriver({ tools, runner: used, logger, plain });
  return { folder, address, tools, commands, runner, plain, newDriver, driver: newDriver() };
}

async function callTool(folder: string, command: Command, otherwise: CommandRunner): Promise<CommandResult> {
  const [program, ...args] = command.argv;
  const tool = path.basename(program);
  if (tool !== "drbdsetup" && tool !== "drbdmeta") return otherwise.run(command);
  command.signal?.throwIfAborted();
  const {
    exitCode,
    stdout = "",
    stderr = "",
  } = tool === "drbdsetup" ? await drbdsetup(folder, args, "nothing") : await drbdmeta(folder, args);
  if ((command.okExitCodes ?? [0]).includes(exitCode))
    return { exitCode, stdout, stderr, truncated: false, durationMs: 0 };
  throw new CommandError(`Command ${formatCommand(command)} failed with exit code ${exitCode}: ${stderr}`);
}

/** Both ends made, up, and one of them primary with its data declared the truth; in sync. */
export async function makeMirror(pair: DrbdPair, disk = pair.newDisk()): Promise<BlockDeviceSpec> {
  const { first, second } = pair;
  const other = pair.mirrored(disk);
  await Promise.all([first.driver.create(disk, never()), second.driver.create(other, never())]);
  await second.driver.standBy(other, never());
  await first.driver.seed(disk, never());
  await inSync(pair, disk);
  return disk;
}

export async function inSync(pair: DrbdPair, disk: BlockDeviceSpec): Promise<void> {
  await eventually(async () => !(await statusNow(pair.first, disk)).degraded);
}

/** With what a resync has done since the last command. */
export async function statusNow({ driver, folder }: PairNode, disk: BlockDeviceSpec): Promise<MirrorStatus> {
  await drbdsetup(folder, ["status"], "nothing");
  return driver.mirrorStatus(disk, never());
}

export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error("it did not become so");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

export async function write(attached: Pick<AttachedDevice, "path">, text: string): Promise<void> {
  await using file = await open(attached.path, "r+");
  await file.write(text, 0);
}

export async function read(attached: Pick<AttachedDevice, "path">, bytes: number): Promise<string> {
  await using file = await open(attached.path);
  return (await file.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer.toString();
}

/** Everything a node's storage holds: volumes, devices, and what the kernel has of DRBD. */
export async function inventory({ folder, tools }: PairNode): Promise<readonly string[]> {
  const entries = await readdir(tools.deviceFolder, { recursive: true, withFileTypes: true });
  const devices = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  const contents = await readdir(path.join(folder, "volumes"));
  return [...devices, ...contents, ...(await resourcesOf(folder))].sort();
}

async function resourcesOf(folder: string): Promise<readonly string[]> {
  const file = path.join(networkOf(folder), "drbd.json");
  const world: World = JSON.parse(await readFile(file, "utf8").catch(() => '{"ends":[]}'));
  return world.ends.filter(({ node }) => node === folder).map(({ name }) => name);
}

export function never(): AbortSignal {
  return new AbortController().signal;
}

/** Makes what has happened seen: metadata volumes, and /proc/drbd and the devices of every node. */
import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { layoutOf } from "../node-layout.ts";
import { readMetadata, writeMetadata } from "./metadata.ts";
import { procDrbd } from "./reports.ts";
import { deviceFile, type End, endsOf, peerOf, type World } from "./world.ts";

export function publish(world: World, networkFolder: string, nowMs: number): void {
  for (const { volume } of world.ends)
    if (volume !== undefined && existsSync(volume.metadataPath)) saveMetadata(volume);
  for (const node of nodesOf(networkFolder)) {
    if (!existsSync(node)) continue;
    writeWhenOther(layoutOf(node).drbdStatusFile, procDrbd(world, node, nowMs));
    linkDevices(world, node);
  }
}

/** A node whose /proc/drbd and devices are kept. */
export function addNode(networkFolder: string, node: string): void {
  const nodes = nodesOf(networkFolder);
  if (!nodes.includes(node)) writeFileSync(path.join(networkFolder, "nodes.json"), JSON.stringify([...nodes, node]));
}

/** Stand in for the kernel's own threads: a process that keeps /proc/drbd while a resync runs, and ends with it. */
export function watchResync(networkFolder: string): void {
  const program = path.join(import.meta.dirname, "resync.ts");
  spawn(process.execPath, [program, networkFolder], { detached: true, stdio: "ignore" }).unref();
}

function nodesOf(networkFolder: string): readonly string[] {
  const file = path.join(networkFolder, "nodes.json");
  return existsSync(file) ? JSON.parse(readFileSync(file, "utf8")) : [];
}

function saveMetadata({ metadataPath, metadata }: NonNullable<End["volume"]>): void {
  if (JSON.stringify(readMetadata(metadataPath)) !== JSON.stringify(metadata)) writeMetadata(metadataPath, metadata);
}

function writeWhenOther(file: string, text: string): void {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** A primary's device leads to its data, or over the network to its peer's. */
function linkDevices(world: World, node: string): void {
  const folder = layoutOf(node).deviceFolder;
  mkdirSync(folder, { recursive: true });
  const wanted = new Map<string, string>();
  for (const end of endsOf(world, node)) {
    const target = (end.volume ?? peerOf(world, end)?.volume)?.dataPath;
    if (end.role === "Primary" && target !== undefined) wanted.set(path.basename(deviceFile(end)), target);
  }
  for (const name of readdirSync(folder).filter((each) => /^drbd\d+$/.test(each)))
    if (wanted.get(name) === readlinkSync(path.join(folder, name))) wanted.delete(name);
    else rmSync(path.join(folder, name));
  for (const [name, target] of wanted) symlinkSync(target, path.join(folder, name));
}

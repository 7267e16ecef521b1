/** The guest of counter.asm, and what it has written to its disk. */
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { assemble } from "./assemble.ts";

/** Assembled into the folder that a node shares with the lab; the OS definition `counter` installs it from there. */
export async function assembleGuest(nodeDir: string, runner: CommandRunner): Promise<void> {
  await assemble("counter.asm", path.join(nodeDir, "counter.img"), runner);
}

export interface Counter {
  /** How often the guest was booted from this disk. */
  readonly boots: number;
  /** What it has counted to since its last boot. */
  readonly count: number;
}

/** Script that prints what {@link parseCounter} reads, without any cache between it and the disk. */
export function readCounterScript(device: string): string {
  return `dd if=${device} bs=512 skip=1 count=1 iflag=direct status=none | od -An -v -tx1 -N8`;
}

/** Undefined when the guest has not written yet. */
export function parseCounter(dump: string): Counter | undefined {
  const bytes = Buffer.from(dump.replaceAll(/\s/g, ""), "hex");
  if (bytes.toString("latin1", 0, 4) !== "GNTC") return undefined;
  return { boots: bytes.readUInt16LE(4), count: bytes.readUInt16LE(6) };
}

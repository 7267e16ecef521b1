/**
 * What the steps of a job on one disk have found out, kept for the next of them. A command on a node takes some ten
 * milliseconds, and more on a busy one; a live migration looked at each end eight times by two commands each.
 *
 * It is relied on for a minute, only for the very same disk, and only while the kernel's device is the one that was
 * looked at: who takes a minor down and sets it up again makes another device node. What this driver does itself to an
 * end it forgets before.
 */
import { stat } from "node:fs/promises";
import { type DrbdDisk, formatAddress } from "./drbd-disk.ts";

const KEEP_MS = 60_000;

interface KnownEnd {
  readonly disk: string;
  readonly state: "up" | "just made";
  /** Of the device's node, where there is one. */
  readonly inode: number | undefined;
  readonly dualPrimary: boolean;
  readonly untilMs: number;
}

export class KnownEnds {
  readonly #known = new Map<number, KnownEnd>();

  /** The end is up as the disk says, its volumes proven to be the disk's. */
  async noteUp(disk: DrbdDisk, { dualPrimary }: { readonly dualPrimary: boolean }): Promise<void> {
    this.#note(disk, { state: "up", inode: await inodeOf(disk), dualPrimary });
  }

  /** Its volumes were made just now, with new metadata, and nothing is up. */
  noteMade(disk: DrbdDisk): void {
    this.#note(disk, { state: "just made", inode: undefined, dualPrimary: false });
  }

  forget({ minor }: DrbdDisk): void {
    this.#known.delete(minor);
  }

  /** How the end was left, when it was left up. */
  async up(disk: DrbdDisk): Promise<Pick<KnownEnd, "dualPrimary"> | undefined> {
    const known = this.#of(disk);
    return known?.state === "up" && known.inode === (await inodeOf(disk)) ? known : undefined;
  }

  /** Whether its volumes were made just now and nothing has been done with them since. */
  isJustMade(disk: DrbdDisk): boolean {
    return this.#of(disk)?.state === "just made";
  }

  #note(disk: DrbdDisk, found: Pick<KnownEnd, "state" | "inode" | "dualPrimary">): void {
    this.#known.set(disk.minor, { ...found, disk: identityOf(disk), untilMs: performance.now() + KEEP_MS });
  }

  #of(disk: DrbdDisk): KnownEnd | undefined {
    const known = this.#known.get(disk.minor);
    return known?.disk === identityOf(disk) && performance.now() < known.untilMs ? known : undefined;
  }
}

async function inodeOf({ devicePath }: DrbdDisk): Promise<number | undefined> {
  return (await stat(devicePath).catch(() => undefined))?.ino;
}

/** All that an end is set up from, but its secret: who is given another one connects anew. */
function identityOf({ spec, resource, local, peer, data, metadata, parameters }: DrbdDisk): string {
  return JSON.stringify([
    ...[spec.uuid, data.spec.uuid, data.path, metadata.spec.uuid, metadata.path],
    ...[resource, formatAddress(local), formatAddress(peer), parameters],
  ]);
}

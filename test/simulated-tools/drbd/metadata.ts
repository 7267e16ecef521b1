/**
 * Metadata at the beginning of a metadata volume: a signature and JSON, where DRBD has its superblock, and at its end
 * the device's UUID as DRBD has it in there.
 */
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import type { Metadata } from "./world.ts";

const SIGNATURE = "simulated DRBD v08\n";
const BYTES = 4096;

export const JUST_CREATED = "0000000000000004";
export const NO_UUID = "0000000000000000";

export const NEW_METADATA: Metadata = {
  deviceUuid: NO_UUID,
  uuids: [JUST_CREATED, NO_UUID, NO_UUID, NO_UUID],
  sizeKib: 0,
  isUpToDate: false,
};

/** Undefined without any. @throws for a volume that cannot be read */
export function readMetadata(volume: string): Metadata | undefined {
  const file = openSync(volume, "r");
  try {
    const bytes = Buffer.alloc(BYTES);
    readSync(file, bytes, 0, BYTES, 0);
    const [text = ""] = bytes.toString("utf8").split("\0");
    return text.startsWith(SIGNATURE) ? JSON.parse(text.slice(SIGNATURE.length)) : undefined;
  } finally {
    closeSync(file);
  }
}

export function writeMetadata(volume: string, metadata: Metadata): void {
  const file = openSync(volume, "r+");
  try {
    const bytes = Buffer.alloc(BYTES);
    bytes.write(SIGNATURE + JSON.stringify(metadata));
    bytes.write(metadata.deviceUuid, BYTES - NO_UUID.length / 2, "hex");
    writeSync(file, bytes, 0, BYTES, 0);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

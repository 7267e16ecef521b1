/** Reads a small FAT12 filesystem with long file names, as a guest's kernel would: to see what a seed holds. */

export interface FatFiles {
  readonly label: string;
  /** Of the filesystem, as it says itself. */
  readonly sectors: number;
  readonly files: Readonly<Record<string, string>>;
}

const ENTRY_BYTES = 32;
const LONG_NAME = 0x0f;
const VOLUME_LABEL = 0x08;

export function readFat(image: Buffer): FatFiles {
  const sectorBytes = image.readUInt16LE(11);
  const clusterBytes = image.readUInt8(13) * sectorBytes;
  const reserved = image.readUInt16LE(14);
  const fats = image.readUInt8(16);
  const rootEntries = image.readUInt16LE(17);
  const fatSectors = image.readUInt16LE(22);
  const fat = image.subarray(reserved * sectorBytes);
  const root = image.subarray((reserved + fats * fatSectors) * sectorBytes);
  const data = root.subarray(rootEntries * ENTRY_BYTES);

  function next(cluster: number): number {
    const pair = fat.readUInt16LE(Math.floor((cluster * 3) / 2));
    return cluster % 2 === 0 ? pair & 0xfff : pair >> 4;
  }

  function contents(first: number, size: number): string {
    const parts: Buffer[] = [];
    for (let cluster = first; cluster >= 2 && cluster < 0xff8; cluster = next(cluster))
      parts.push(data.subarray((cluster - 2) * clusterBytes, (cluster - 1) * clusterBytes));
    return Buffer.concat(parts).toString("utf8", 0, size);
  }

  const files: Record<string, string> = {};
  let longName = "";
  for (let at = 0; at < rootEntries * ENTRY_BYTES && root[at] !== 0; at += ENTRY_BYTES) {
    const entry = root.subarray(at, at + ENTRY_BYTES);
    const attributes = entry.readUInt8(11);
    if (attributes === LONG_NAME) {
      const letters = Buffer.concat([entry.subarray(1, 11), entry.subarray(14, 26), entry.subarray(28, 32)]);
      longName = (letters.toString("utf16le").split("\0")[0] ?? "") + longName;
    } else {
      if ((attributes & VOLUME_LABEL) === 0) files[longName] = contents(entry.readUInt16LE(26), entry.readUInt32LE(28));
      longName = "";
    }
  }
  return { label: image.toString("latin1", 43, 54).trim(), sectors: image.readUInt16LE(19), files };
}

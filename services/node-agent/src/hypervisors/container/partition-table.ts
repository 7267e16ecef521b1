/** Where a disk's first partition lies: OS definitions put the system there, or on the bare disk. Pure. */

export interface PartitionSpan {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
}

const SECTOR_BYTES = 512;
/** So much from a disk's beginning is looked at: the MBR, the GPT's header, the first of its entries. */
export const PARTITION_TABLE_BYTES = 3 * SECTOR_BYTES;

/** UEFI specification, 5.2. */
const MBR = { signatureAt: 510, signature: 0xaa55, firstEntryAt: 446, typeAt: 4, startAt: 8, countAt: 12 } as const;
const PROTECTIVE_TYPE = 0xee;
/** UEFI specification, 5.3: entries stand in the third sector, as every tool puts them. */
const GPT = {
  magicAt: SECTOR_BYTES,
  magic: "EFI PART",
  firstEntryAt: 2 * SECTOR_BYTES,
  firstAt: 32,
  lastAt: 40,
} as const;

/** Undefined for a disk without partitions. @param head - its first {@link PARTITION_TABLE_BYTES} bytes */
export function firstPartition(head: Buffer): PartitionSpan | undefined {
  if (head.length < PARTITION_TABLE_BYTES || head.readUInt16LE(MBR.signatureAt) !== MBR.signature) return undefined;
  const type = head[MBR.firstEntryAt + MBR.typeAt];
  if (type === PROTECTIVE_TYPE) return firstOfGpt(head);
  const start = head.readUInt32LE(MBR.firstEntryAt + MBR.startAt);
  const count = head.readUInt32LE(MBR.firstEntryAt + MBR.countAt);
  return type === 0 || start === 0 || count === 0 ? undefined : span(start, count);
}

function firstOfGpt(head: Buffer): PartitionSpan | undefined {
  if (head.toString("latin1", GPT.magicAt, GPT.magicAt + GPT.magic.length) !== GPT.magic) return undefined;
  const first = Number(head.readBigUInt64LE(GPT.firstEntryAt + GPT.firstAt));
  const last = Number(head.readBigUInt64LE(GPT.firstEntryAt + GPT.lastAt));
  return first === 0 || last < first ? undefined : span(first, last - first + 1);
}

function span(sectors: number, count: number): PartitionSpan {
  return { offsetBytes: sectors * SECTOR_BYTES, sizeBytes: count * SECTOR_BYTES };
}

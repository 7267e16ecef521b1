/** Taking a bzImage apart (the kernel's Documentation/arch/x86/boot.rst). */
import { readFile, writeFile } from "node:fs/promises";
import type { CommandRunner } from "@gannet/exec";

const XZ = "/usr/bin/xz";
const XZ_MAGIC = Buffer.from("fd377a585a00", "hex");
const SECTOR_BYTES = 512;
/** Offsets of the boot protocol's header fields, since protocol 2.08. */
const HEADER = { setupSectors: 0x1f1, magic: 0x202, payloadOffset: 0x248, payloadLength: 0x24c } as const;

/**
 * Write the ELF kernel that a bzImage holds compressed: booted directly (PVH) it saves the emulated processor the
 * decompression, some ten seconds a node.
 * @param target - of the ELF file; `<target>.xz` is made and removed
 * @throws Error when it is not a bzImage with an xz payload
 */
export async function extractKernel(bzImage: string, target: string, runner: CommandRunner): Promise<void> {
  const image = await readFile(bzImage);
  if (image.toString("latin1", HEADER.magic, HEADER.magic + 4) !== "HdrS") throw new Error(`${bzImage} is no bzImage`);
  const start = (image.readUInt8(HEADER.setupSectors) + 1) * SECTOR_BYTES + image.readUInt32LE(HEADER.payloadOffset);
  const payload = image.subarray(start, start + image.readUInt32LE(HEADER.payloadLength));
  if (!payload.subarray(0, XZ_MAGIC.length).equals(XZ_MAGIC)) throw new Error(`${bzImage}: its payload is not xz`);
  await writeFile(`${target}.xz`, payload);
  // The payload ends with its uncompressed size, which is no part of the xz stream.
  await runner.run({ argv: [XZ, "--decompress", "--force", "--single-stream", `${target}.xz`], timeoutMs: 60_000 });
}

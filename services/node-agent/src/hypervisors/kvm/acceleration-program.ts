/**
 * A firmware image of 64 KiB for x86 machines that goes from real mode to 64-bit mode with paging, adds two
 * numbers in SSE registers, and ends qemu through its isa-debug-exit device. Real mode alone proves little: the
 * software-assisted KVM of some nested hosts runs it and hangs once paging is on (seen with Debian 12's qemu and
 * kernel).
 */

/** Appears at 0xf0000, and once more right below 4 GiB, where the processor begins. */
const IMAGE_BYTES = 64 * 1024;
const RESET_VECTOR = 0xfff0;
const DEBUG_PORT = 0x501;
const WORD = 0x2a;

/** isa-debug-exit ends qemu with the written value doubled, plus one. */
export const PROGRAM_RAN_EXIT_CODE = WORD * 2 + 1;

/** Each line: its machine code, then what it does. The code begins at offset 0 of the image. */
const PROGRAM: readonly (readonly [code: string, meaning: string])[] = [
  ["fa fc", "cli; cld"],
  ["31 c0 8e d8 8e c0", "ax = ds = es = 0"],
  ["bf 00 10 b9 00 18 f3 ab", "clear 12 KiB at 0x1000 for page tables"],
  ["c7 06 00 10 03 20", "level 4, entry 0: table at 0x2000"],
  ["c7 06 00 20 03 30", "level 3, entry 0: table at 0x3000"],
  ["c7 06 00 30 83 00", "level 2, entry 0: the first 2 MiB as one page"],
  ["2e 0f 01 16 a0 00", "lgdt cs:[0xa0]"],
  ["0f 20 e0 66 0d 20 06 00 00 0f 22 e0", "cr4 |= PAE | OSFXSR | OSXMMEXCPT"],
  ["66 b8 00 10 00 00 0f 22 d8", "cr3 = 0x1000"],
  ["66 b9 80 00 00 c0 0f 32 66 0d 00 01 00 00 0f 30", "EFER |= LME"],
  ["0f 20 c0 66 25 ff ff ff 9f 66 0d 01 00 00 80 0f 22 c0", "cr0: caches on, protection and paging on"],
  ["66 ea 67 00 0f 00 08 00", "jump to 64-bit code at 0xf0067"],
  ["bc 00 80 00 00", "esp = 0x8000"],
  ["f2 48 0f 2a c4", "xmm0 = (double) rsp"],
  ["f2 0f 58 c0", "xmm0 += xmm0"],
  ["f2 48 0f 2d c0", "rax = (long) xmm0"],
  ["48 3d 00 00 01 00 75 07", "wrong unless 0x10000: to hlt"],
  ["66 ba 01 05 b0 2a ee", "out 0x501, 0x2a"],
  ["f4 eb fd", "hlt, for ever"],
];
const GDT_OFFSET = 0x90;
/** A null descriptor and one of 64-bit code; then, at 0xa0, the table's limit and address. */
const GDT = "00 00 00 00 00 00 00 00 00 00 00 00 00 9a 20 00 0f 00 90 00 0f 00";
const JUMP_TO_START = "ea 00 00 00 f0";

export function accelerationProgram(): Uint8Array {
  const image = Buffer.alloc(IMAGE_BYTES);
  image.set(bytes(PROGRAM.map(([code]) => code).join(" ")));
  image.set(bytes(GDT), GDT_OFFSET);
  image.set(bytes(JUMP_TO_START), RESET_VECTOR);
  return image;
}

/** The device through which the program reports. */
export const DEBUG_EXIT_DEVICE = { driver: "isa-debug-exit", iobase: DEBUG_PORT, iosize: 2 } as const;

function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(" ", ""), "hex");
}

/** A tar archive (POSIX.1-1988, "ustar"), part by part. Pure. */

export interface TarEntry {
  /** Relative, with slashes; that of a folder ends in one. */
  readonly name: string;
  /** Permissions. */
  readonly mode: number;
  readonly contents: Buffer;
}

const BLOCK = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;

/** What ends an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

/**
 * Owned by root, made at the beginning of 1970.
 * @throws RangeError when the name does not fit into an archive
 */
export function tarEntry({ name, mode, contents }: TarEntry): Buffer {
  const [prefix, last] = splitName(name);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, "0")}\0`;
  header.write(last, 0);
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(contents.length, 11), 124);
  header.write(octal(0, 11), 136);
  header.write(" ".repeat(8), 148);
  header.write(name.endsWith("/") ? "5" : "0", 156);
  header.write("ustar\x0000", 257);
  header.write(prefix, 345);
  const checksum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(`${checksum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, contents, Buffer.alloc((BLOCK - (contents.length % BLOCK)) % BLOCK)]);
}

function splitName(name: string): readonly [prefix: string, last: string] {
  if (Buffer.byteLength(name) <= NAME_BYTES) return ["", name];
  for (let at = name.indexOf("/"); at >= 0 && at < name.length - 1; at = name.indexOf("/", at + 1)) {
    const [prefix, last] = [name.slice(0, at), name.slice(at + 1)];
    if (Buffer.byteLength(prefix) <= PREFIX_BYTES && Buffer.byteLength(last) <= NAME_BYTES) return [prefix, last];
  }
  throw new RangeError(`${JSON.stringify(name)} is too long a name for a tar archive`);
}

/** The end of a file that may be long. */
import { open } from "node:fs/promises";

/** @returns what may begin within a character @throws when the file cannot be read */
export async function fileTail(file: string, mostBytes: number): Promise<string> {
  await using handle = await open(file);
  const { size } = await handle.stat();
  const length = Math.min(size, mostBytes);
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.toString("utf8", 0, bytesRead);
}

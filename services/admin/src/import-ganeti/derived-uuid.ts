/** UUIDs for what has none in old files: the same file gives the same ones each time. */
import { createHash } from "node:crypto";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}

/** Name-based, by SHA-256 (RFC 9562, version 8). */
export function derivedUuid<Uuid extends string>(owner: string, part: string): Uuid {
  const digest = createHash("sha256").update(`${owner}\n${part}`).digest("hex");
  const variant = ((Number.parseInt(digest.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  const parts = [digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`];
  return [...parts, `${variant}${digest.slice(17, 20)}`, digest.slice(20, 32)].join("-") as Uuid;
}

/** What a guest's files are called before their suffix. */
import { createHash } from "node:crypto";

/** File names are limited to 255 bytes; this leaves room for suffixes. */
export const LONGEST_STEM = 200;
/** `~` and 16 digits; no guest's name begins with `~`. */
export const HASHED_STEM_LENGTH = 17;

/** The guest's name where it is short enough, a hash of it otherwise. */
export function fileStem(guestName: string, longest: number = LONGEST_STEM): string {
  return guestName.length <= longest ? guestName : `~${shortHash(guestName)}`;
}

/** 16 hexadecimal digits that stand for a text. */
export function shortHash(text: string): string {
  return createHash("sha256")
    .update(text)
    .digest("hex")
    .slice(0, HASHED_STEM_LENGTH - 1);
}

/** Which boot of the machine this is. */
import { readFileSync } from "node:fs";

let own: string | undefined;

/** The kernel's name for it (random(4)), which stays the same for as long as this process lives. */
export function bootId(): string {
  own ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return own;
}

/** Wishes as the tests write them: `S("node/n1")`, `X("instance/[lockset]")`. */
import type { LockMode, LockWish } from "../src/lock.ts";
import { parseLockName } from "../src/lock-name.ts";

export const S = (lock: string): LockWish => wish(lock, "shared");
export const X = (lock: string): LockWish => wish(lock, "exclusive");

function wish(lock: string, mode: LockMode): LockWish {
  return { ...parseLockName(lock), mode };
}

/** The lock manager's Lua: as scripts of its own, and as functions for scripts of the job ledger. */
import { EPOCH_KEY, luaFile, redisKey } from "@gannet/redis";
import { FENCE_PRELUDE } from "./fence.ts";
import type { LockMode, LockRequest } from "./lock.ts";
import type { Fence } from "./lock-manager-contract.ts";
import { LEVEL_RANKS } from "./lock-name.ts";
import { askedOf } from "./lock-request.ts";

/** Modes as the scripts write them. */
const STORED_MODES = { shared: "S", exclusive: "X" } as const satisfies Record<LockMode, string>;
export type StoredMode = (typeof STORED_MODES)[LockMode];

/** `KEYS` of every verb; lua/lock-rules.lua tells what stands below the prefix. */
export const LOCK_KEYS = [EPOCH_KEY, redisKey("lock", "")] as const;

const LEVELS = JSON.stringify(LEVEL_RANKS);

/** The whole text of one verb. */
export function lockLua(verb: string): string {
  const files = ["lock-rules", `lock-${verb}`].map((file) => luaFile(import.meta.dirname, `lua/${file}.lua`));
  return [FENCE_PRELUDE, ...files].join("\n");
}

/**
 * Lua that defines `lock_request(keys, args)`, `lock_release` and `lock_reprioritize`: what the lock manager's verbs
 * of these names do, inside a script that does more in the same step. `keys` are {@link LOCK_KEYS}.
 */
export const LOCK_FUNCTIONS: string = ["request", "release", "reprioritize"]
  .map((verb) => `local function lock_${verb}(KEYS, ARGV)\n${lockLua(verb)}\nend\n`)
  .join("");

/** `ARGV` of a request. @throws LockError when it is malformed */
export function lockRequestArguments(request: LockRequest, fence: Fence): readonly (string | number)[] {
  const { wishes, choice } = askedOf(request);
  const modes = Object.fromEntries([...wishes].map(([lock, { mode }]) => [lock, STORED_MODES[mode]]));
  const candidates = choice === undefined ? "" : JSON.stringify(choice);
  return [fence.epoch, request.owner, request.priority, JSON.stringify(modes), LEVELS, candidates];
}

/** The Lua by which every script that writes on behalf of the leader refuses a stale epoch. */
import { luaFile } from "@gannet/redis";

/**
 * Defines `local function fence(epoch_key, epoch)`: nil, or an error reply `STALE_EPOCH …` to be returned at
 * once. Scripts of the job ledger and the config store stand behind it.
 */
export const FENCE_PRELUDE: string = luaFile(import.meta.dirname, "lua/fence.lua");

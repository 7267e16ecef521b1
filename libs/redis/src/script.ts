/**
 * Lua scripts as typed verbs.
 *
 * A script is a `.lua` file in the folder `lua` beside the code that calls it. It begins with this header, in
 * which every key and argument has its line:
 *
 *     --[[
 *       What it does, in one sentence; what is atomic about it.
 *
 *       KEYS[1] 'gannet:epoch'    string: the leader's epoch
 *       KEYS[2] 'gannet:jobs:'    prefix: job <id> is the hash KEYS[2]..id      (a prefix: keys are derived from it)
 *       ARGV[1] epoch             int, or '' for a caller that is no leader
 *       ARGV[2] job id            int
 *       Answers 1 when …, 0 when …
 *       Errors  STALE_EPOCH, CONFLICT
 *     ]]
 *
 * It refuses by `return redis.error_reply("CODE text")` before its first write, because Redis does not roll back.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ConfigurationConflict, LockError, StaleEpoch } from "@gannet/errors";
import type { Redis } from "ioredis";
import { confirmed } from "./replication.ts";
import { redisUnavailable } from "./unavailable.ts";

/** From the first word of an error reply to the error it is. */
export type ScriptErrors = Readonly<Record<string, new (message: string) => Error>>;

const COMMON_ERRORS: ScriptErrors = {
  STALE_EPOCH: StaleEpoch,
  CONFLICT: ConfigurationConflict,
  LOCK: LockError,
};

export interface ScriptDefinition {
  /** For messages: `job-ledger/claim`. */
  readonly name: string;
  readonly lua: string;
  /** How many KEYS it takes, or `any`. */
  readonly keys: number | "any";
  /** Codes of its own, beside STALE_EPOCH, CONFLICT and LOCK. */
  readonly errors?: ScriptErrors;
  /**
   * What it wrote must outlive the server: enough replicas have it when `run` resolves. It must be a script that may
   * be run again when they do not confirm in time, and then answers the same.
   */
  readonly confirmed?: boolean;
}

export interface Script {
  readonly name: string;
  /**
   * Run it. Scripts started one after another without waiting go out together and run in that order, save when
   * the server has to be given one of them first.
   * @throws what its error code stands for; Unavailable when Redis is in trouble; Unconfirmed
   */
  run(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown>;
}

/** Declare a script. The server is given its text once, when it does not know it. */
export function defineScript(definition: ScriptDefinition): Script {
  const { name, lua, keys: keyCount, errors = {} } = definition;
  const sha = createHash("sha1").update(lua).digest("hex");
  const classes: ScriptErrors = { ...COMMON_ERRORS, ...errors };
  return {
    name,
    async run(redis, keys, args) {
      if (keyCount !== "any" && keys.length !== keyCount)
        throw new Error(`Script ${name} takes ${keyCount} keys, not ${keys.length}`);
      const reply = await answerOf(redis, keys, args);
      if (definition.confirmed === true) await confirmed(redis);
      return reply;
    },
  };

  async function answerOf(redis: Redis, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    try {
      return await redis.evalsha(sha, keys.length, ...keys, ...args);
    } catch (error) {
      if (!isNoScript(error)) throw scriptError(error, classes);
    }
    try {
      return await redis.eval(lua, keys.length, ...keys, ...args);
    } catch (error) {
      throw scriptError(error, classes);
    }
  }
}

/**
 * The text of a Lua file, read at module load: `luaFile(import.meta.dirname, "lua/claim.lua")`. The one place that
 * knows where Lua files are; bundles carry them beside the bundle under the same relative name.
 */
export function luaFile(directory: string, name: string): string {
  return readFileSync(join(directory, name), "utf8");
}

function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith("NOSCRIPT");
}

function scriptError(error: unknown, classes: ScriptErrors): Error {
  if (!(error instanceof Error)) return redisUnavailable(error);
  const [code = ""] = error.message.split(" ", 1);
  const known = classes[code];
  return known === undefined ? redisUnavailable(error) : new known(error.message.slice(code.length + 1));
}

/** The ledger's verbs as Lua scripts; each file's header documents its arguments and answer. */
import { JobQueueDrainError, JobQueueFull, OpPrereqError, Unavailable } from "@gannet/errors";
import { FENCE_PRELUDE, LOCK_FUNCTIONS, LOCK_KEYS } from "@gannet/locking";
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisKey, type ScriptErrors } from "@gannet/redis";
import { SubmissionKeyReused } from "./job-ledger-contract.ts";

/** `KEYS` of every script; lua/ledger.lua tells what stands below the prefixes. */
const KEYS = [EPOCH_KEY, redisKey("job", ""), redisKey("jobs", ""), LOCK_KEYS[1]] as const;

/** Keys that are also read by plain commands. */
export const jobKey = (id: number): string => `${KEYS[1]}${id}`;
export const logKey = (id: number): string => `${jobKey(id)}:log`;
export const jobsKey = (
  name: "live" | "archived" | "ready" | "active" | "ended" | "ends" | "changes" | "drained" | "serial",
): string => `${KEYS[2]}${name}`;

class BadDependency extends OpPrereqError {
  constructor(message: string) {
    super(message, "wrong_input");
  }
}

const ERRORS: ScriptErrors = {
  ABANDONED: Unavailable,
  BAD_DEPENDENCY: BadDependency,
  DRAINED: JobQueueDrainError,
  FULL: JobQueueFull,
  KEY_REUSED: SubmissionKeyReused,
  // The caller broke the order of the verbs: a defect, nothing that a client did.
  WRONG_STATE: Error,
};

const PRELUDE = LOCK_FUNCTIONS + FENCE_PRELUDE + luaFile(import.meta.dirname, "lua/ledger.lua");
const INTAKE = luaFile(import.meta.dirname, "lua/intake.lua");

type Run = (redis: Redis, ...args: (string | number)[]) => Promise<unknown>;

function verb(name: string, { further = "", confirmed = false } = {}): Run {
  const lua = PRELUDE + further + luaFile(import.meta.dirname, `lua/${name}.lua`);
  const script = defineScript({ name: `job-ledger/${name}`, lua, keys: KEYS.length, errors: ERRORS, confirmed });
  return (redis, ...args) => script.run(redis, KEYS, args);
}

/**
 * What a client or a node is going to act on outlives the server that took it: that a job was taken, that an opcode
 * has begun (nodes are called next), each undo before its step, every end. A log entry may be lost, and archiving by
 * age does itself again.
 */
const CONFIRMED = { confirmed: true } as const;

export const scripts = {
  submit: verb("submit", { further: INTAKE, ...CONFIRMED }),
  abandonSubmission: verb("abandon-submission", CONFIRMED),
  begin: verb("begin", CONFIRMED),
  park: verb("park", CONFIRMED),
  succeed: verb("succeed", { further: INTAKE, ...CONFIRMED }),
  fail: verb("fail", CONFIRMED),
  finishCancel: verb("finish-cancel", CONFIRMED),
  log: verb("log"),
  pushUndo: verb("push-undo", CONFIRMED),
  clearUndo: verb("clear-undo", CONFIRMED),
  cancel: verb("cancel", CONFIRMED),
  changePriority: verb("change-priority", CONFIRMED),
  archive: verb("archive", CONFIRMED),
  autoArchive: verb("auto-archive"),
  readyJobs: verb("ready-jobs"),
  takeOver: verb("take-over", CONFIRMED),
} as const;

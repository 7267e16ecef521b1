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

function verb(name: string, further = ""): Run {
  const lua = PRELUDE + further + luaFile(import.meta.dirname, `lua/${name}.lua`);
  const script = defineScript({ name: `job-ledger/${name}`, lua, keys: KEYS.length, errors: ERRORS });
  return (redis, ...args) => script.run(redis, KEYS, args);
}

export const scripts = {
  submit: verb("submit", INTAKE),
  abandonSubmission: verb("abandon-submission"),
  begin: verb("begin"),
  park: verb("park"),
  succeed: verb("succeed", INTAKE),
  fail: verb("fail"),
  finishCancel: verb("finish-cancel"),
  log: verb("log"),
  pushUndo: verb("push-undo"),
  clearUndo: verb("clear-undo"),
  cancel: verb("cancel"),
  changePriority: verb("change-priority"),
  archive: verb("archive"),
  autoArchive: verb("auto-archive"),
  readyJobs: verb("ready-jobs"),
  takeOver: verb("take-over"),
} as const;

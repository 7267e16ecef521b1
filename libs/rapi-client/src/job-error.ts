/** What a job's opcode failed with, as the taxonomy's class (spec/jobs.json, `error_encoding`). */
import * as errors from "@gannet/errors";

/** Classes that are made from a message alone, by their names on the wire. */
const CLASSES: Readonly<Record<string, new (message: string) => errors.GannetError>> = {
  BlockDeviceError: errors.BlockDeviceError,
  CommandError: errors.CommandError,
  ConfigurationError: errors.ConfigurationError,
  FileStoragePathError: errors.FileStoragePathError,
  GenericError: errors.Unavailable,
  HooksFailure: errors.HooksFailure,
  HypervisorError: errors.HypervisorError,
  JobCanceled: errors.JobCanceled,
  JobLost: errors.JobLost,
  JobQueueDrainError: errors.JobQueueDrainError,
  JobQueueFull: errors.JobQueueFull,
  LockError: errors.LockError,
  OpExecError: errors.OpExecError,
  OpResultError: errors.OpResultError,
  ResultValidationError: errors.ResultValidationError,
  TagError: errors.TagError,
  TypeEnforcementError: errors.TypeEnforcementError,
};

/** The error that stands in an `opresult`. A class that is not known here is an OpExecError that names it. */
export function decodeJobError(encoded: unknown): errors.GannetError {
  if (!Array.isArray(encoded) || typeof encoded[0] !== "string" || !Array.isArray(encoded[1]))
    return new errors.OpExecError(typeof encoded === "string" ? encoded : "The job failed and does not say why");
  const [name, args] = encoded as [string, readonly unknown[]];
  const message = typeof args[0] === "string" ? args[0] : JSON.stringify(args);
  if (name === "OpPrereqError") return new errors.OpPrereqError(message, codeOf(args[1]));
  if (name === "HooksAbort") return new errors.HooksAbort(hookFailures(args[0]));
  if (name === "JobCanceled") return new errors.JobCanceled(args.length === 0 ? "The job was canceled" : message);
  const known = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined;
  return known === undefined ? new errors.OpExecError(`${name}: ${message}`) : new known(message);
}

function codeOf(code: unknown): errors.ErrorCode {
  return errors.ERROR_CODES.find((known) => known === code) ?? "internal_error";
}

function hookFailures(failures: unknown): ConstructorParameters<typeof errors.HooksAbort>[0] {
  if (!Array.isArray(failures)) return [];
  return failures.map((entry: unknown) => {
    const [node, script, output] = Array.isArray(entry) ? entry.map(String) : [];
    return [node ?? "", script ?? "", output ?? ""] as const;
  });
}

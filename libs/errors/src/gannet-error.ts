/**
 * The error taxonomy. Every layer throws one of these; the maps beside this file turn them into a job's
 * opresult, an HTTP answer, a gRPC status or an exit code, and nothing else does.
 */
import type { ErrorCode } from "./error-codes.ts";

/** What an error becomes in a job's `opresult`: `[class, arguments]` (spec/jobs.json, `error_encoding.shape`). */
export type EncodedError = readonly [className: string, args: readonly unknown[]];

/** The root of the taxonomy: a failure that has a meaning for the caller, never a defect of this program. */
export abstract class GannetError extends Error {
  /** Ganeti's name of the class, as clients see it in `opresult`. */
  abstract readonly wireClass: string;

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = new.target.name;
  }

  /** The arguments beside the class name in `opresult`. */
  wireArgs(): readonly unknown[] {
    return [this.message];
  }
}

/** A request that cannot be carried out, found before anything was changed. */
export class OpPrereqError extends GannetError {
  readonly wireClass = "OpPrereqError";
  readonly code: ErrorCode;

  constructor(message: string, code: ErrorCode, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  override wireArgs(): readonly unknown[] {
    return [this.message, this.code];
  }
}

/** An operation that began and failed. */
export class OpExecError extends GannetError {
  readonly wireClass = "OpExecError";
}

/** A logical unit's result does not have the shape its opcode declares. */
export class OpResultError extends GannetError {
  readonly wireClass = "OpResultError";
}

/** What an allocator answered is no answer to what it was asked. */
export class ResultValidationError extends GannetError {
  readonly wireClass = "ResultValidationError";
}

/** A value has the wrong type or is no known parameter of its table. */
export class TypeEnforcementError extends GannetError {
  readonly wireClass = "TypeEnforcementError";
}

/** The cluster's configuration does not allow what was asked or contradicts itself. */
export class ConfigurationError extends GannetError {
  readonly wireClass = "ConfigurationError";
}

/** A hypervisor refused or failed. */
export class HypervisorError extends GannetError {
  readonly wireClass = "HypervisorError";
}

/** A block device could not be made, found, changed or removed. */
export class BlockDeviceError extends GannetError {
  readonly wireClass = "BlockDeviceError";
}

/** A path lies outside the roots allowed for file storage. */
export class FileStoragePathError extends GannetError {
  readonly wireClass = "FileStoragePathError";
}

/** An external command ended badly, ran too long, or was not found. Its message names the command. */
export class CommandError extends GannetError {
  readonly wireClass = "CommandError";
}

/** A tag breaks the rules of spec/config.json `tags`. */
export class TagError extends GannetError {
  readonly wireClass = "TagError";
}

/** A job was asked to stop before it ran to its end. */
export class JobCanceled extends GannetError {
  readonly wireClass = "JobCanceled";

  override wireArgs(): readonly unknown[] {
    return [];
  }
}

/** The queue is drained: no new job is taken until an operator undrains it. */
export class JobQueueDrainError extends GannetError {
  readonly wireClass = "JobQueueDrainError";
}

/** The queue holds as many jobs as it may. */
export class JobQueueFull extends GannetError {
  readonly wireClass = "JobQueueFull";
}

/** There is no such job, or no longer. */
export class JobLost extends GannetError {
  readonly wireClass = "JobLost";
}

/** A lock request was malformed or its owner already has one waiting. */
export class LockError extends GannetError {
  readonly wireClass = "LockError";
}

/** A pre-phase hook said no: `[node, script, output]` of each that did. */
export class HooksAbort extends GannetError {
  readonly wireClass = "HooksAbort";
  readonly failures: readonly (readonly [node: string, script: string, output: string])[];

  constructor(failures: readonly (readonly [node: string, script: string, output: string])[]) {
    super(`Hooks refused: ${failures.map(([node, script]) => `${script} on ${node}`).join(", ")}`);
    this.failures = failures;
  }

  override wireArgs(): readonly unknown[] {
    return [this.failures];
  }
}

/** Hooks could not be asked at all. */
export class HooksFailure extends GannetError {
  readonly wireClass = "HooksFailure";
}

/** A node's agent cannot be reached, or did not answer in time; what it did is unknown. */
export class NodeUnreachable extends GannetError {
  readonly wireClass = "OpExecError";
  readonly node: string;

  constructor(node: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.node = node;
  }
}

/** This process acted under an epoch that is no longer the cluster's: another leader has taken over. */
export class StaleEpoch extends GannetError {
  readonly wireClass = "OpExecError";
}

/** A row changed between reading and committing; read again and recompute. */
export class ConfigurationConflict extends GannetError {
  readonly wireClass = "ConfigurationError";
}

/** A part that this request needs is not there now (Redis, the leader); the same request may work later. */
export class Unavailable extends GannetError {
  readonly wireClass = "GenericError";
}

/** A request of the remote API that breaks its rules, with the HTTP status it is answered with. */
export class HttpError extends GannetError {
  readonly wireClass = "GenericError";
  readonly status: number;

  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
  }
}

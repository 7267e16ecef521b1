/** A job as the ledger keeps it (spec/jobs.json). */

export type JobStatus = "queued" | "waiting" | "canceling" | "running" | "canceled" | "success" | "error";
export type OpcodeStatus = JobStatus;
export type FinalStatus = "canceled" | "success" | "error";
export type JobId = number;

/** `[seconds, microseconds]` since 1970. */
export type JobTimestamp = readonly [sec: number, usec: number];
export type LogEntryType = "message" | "remote-import" | "jqueue-test" | "delay-test";
/** `[serial, time, type, payload]`; serials grow over all opcodes of a job, from 1. */
export type LogEntry = readonly [serial: number, time: JobTimestamp, type: LogEntryType, payload: unknown];

/** A validated opcode as submitted: wire names, `OP_ID` among them. */
export type OpcodeInput = Readonly<Record<string, unknown>> & { readonly OP_ID: string };

export interface JobOpcode {
  readonly input: OpcodeInput;
  readonly status: OpcodeStatus;
  /** The result, the encoded error, or null. */
  readonly result: unknown;
  readonly log: readonly LogEntry[];
  readonly priority: number;
  readonly startTimestamp: JobTimestamp | null;
  readonly execTimestamp: JobTimestamp | null;
  readonly endTimestamp: JobTimestamp | null;
}

export interface Job {
  readonly id: JobId;
  readonly status: JobStatus;
  readonly archived: boolean;
  readonly summary: readonly string[];
  readonly opcodes: readonly JobOpcode[];
  readonly receivedTimestamp: JobTimestamp;
  readonly startTimestamp: JobTimestamp | null;
  readonly endTimestamp: JobTimestamp | null;
  /** Who submitted it: the user's name. */
  readonly requester: string;
}

/** A job to be submitted. */
export interface NewJob {
  readonly opcodes: readonly { readonly input: OpcodeInput; readonly summary: string }[];
  readonly requester: string;
}

/** What an opcode that submits jobs ends with: `{"jobs": [[true, id], [false, reason]], …}` (spec/jobs.json). */
export interface FollowUps {
  /** In their order: jobs, or why one cannot be submitted. */
  readonly jobs: readonly (NewJob | { readonly refused: string })[];
  /** What the result says beside them. */
  readonly other: Readonly<Record<string, unknown>>;
}

/**
 * One step of an opcode's undo list: enough for another process to undo it. Recorded before the step that
 * it undoes is begun; undone last first.
 */
export interface UndoStep {
  /** What undoes it: a name the executor knows, such as `remove-disk`. */
  readonly action: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Something changed in a job; waiters look again. */
export interface JobChange {
  readonly id: JobId;
  readonly status: JobStatus;
}

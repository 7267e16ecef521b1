/** What the ledger does, for the remote API and the executor. `RedisJobLedger` is the implementation. */
import { type EncodedError, OpPrereqError } from "@gannet/errors";
import type { LockRequest } from "@gannet/locking";
import type { FollowUps, Job, JobChange, JobId, JobStatus, LogEntryType, NewJob, UndoStep } from "./job.ts";

/** Proof of leadership that every write of the executor carries; a stale one is refused. */
export interface Fence {
  readonly epoch: number;
}

/** A page of jobs, oldest first. */
export interface JobQuery {
  readonly archived?: boolean;
  /** Only ids greater than this. */
  readonly after?: JobId;
  readonly limit?: number;
}

/** What makes two submissions one: a repetition has both the same. Words without blanks, at most 100 characters. */
export interface SubmissionKey {
  readonly id: string;
  /** Of what is submitted. */
  readonly digest: string;
}

/** The key came with another submission before. */
export class SubmissionKeyReused extends OpPrereqError {
  constructor(message: string) {
    super(message, "wrong_input");
  }
}

/** Answer of a request that can be refused without being an error (spec/jobs.json, `cancel`). */
export type Verdict = readonly [accepted: boolean, message: string];

/** A job that can be begun at once and has to be delivered. */
export interface ReadyJob {
  readonly id: JobId;
  /** The smallest of its opcodes that have not ended. */
  readonly priority: number;
}

/** What a new leader finds left over from an older one. */
export interface Leftover {
  readonly job: Job;
  /** Index of the opcode that was running. */
  readonly opcodeIndex: number;
  /** Its undo list, in the order the steps were taken. */
  readonly undo: readonly UndoStep[];
}

/**
 * What came of beginning an opcode. `not taken`: it is not this caller's to run, for the job is in other hands, over,
 * at another opcode, or waits for another job, whose end will wake it.
 */
export type Beginning = "running" | "parked" | "not taken";

export interface JobLedger {
  /**
   * Make jobs durable and answer their ids, in order. Dependencies with a negative id are made absolute.
   * On disk before it returns. Repeated with the same key within a day it makes nothing, and answers the ids that
   * the first submission with this key made, whatever has become of those jobs.
   * @throws JobQueueDrainError, JobQueueFull, Unavailable (nothing was submitted), SubmissionKeyReused,
   *   OpPrereqError on no opcodes
   */
  submit(jobs: readonly NewJob[], key?: SubmissionKey): Promise<readonly JobId[]>;

  get(id: JobId): Promise<Job | undefined>;
  /** In the order asked; undefined where there is none. */
  getMany(ids: readonly JobId[]): Promise<readonly (Job | undefined)[]>;
  list(query: JobQuery): Promise<readonly Job[]>;
  /** Ids only, oldest first. */
  ids(query: JobQuery): Promise<readonly JobId[]>;
  /** The highest id that was given out; 0 before the first. */
  lastId(): Promise<JobId>;

  /**
   * Take a queued (or parked and woken) job in hand: its opcode at `opcodeIndex`, the first that has not ended, takes
   * its locks, all in one step, and runs; or the job waits for them parked, at its priority, and is woken when they
   * are granted, to be begun again. An opcode whose dependency ended otherwise than asked is ended here.
   *
   * This and the executor's other writes outlast a Redis that is away or takes nothing, however long, and are not done
   * twice when their answer was lost (a log entry may be). An opcode never runs for two callers.
   * @throws LockError when the job holds, or waits for, other locks than these; StaleEpoch
   */
  begin(
    id: JobId,
    opcodeIndex: number,
    fence: Fence,
    locks?: Pick<LockRequest, "wishes" | "candidates">,
  ): Promise<Beginning>;
  /**
   * From running back to waiting, before anything was done, by who began it: it gives its locks back, and is woken to
   * be begun again.
   */
  park(id: JobId, opcodeIndex: number, fence: Fence): Promise<void>;
  /**
   * The opcode ends as success and gives its locks back, and the job ends after its last one; otherwise the job is
   * queued and can be begun. This and the three verbs after it wake who was waiting for the locks or for the job.
   */
  succeed(id: JobId, opcodeIndex: number, result: unknown, fence: Fence): Promise<void>;
  /**
   * As `succeed`, and in the same step the jobs are made that the opcode submits: they are there exactly if it
   * succeeded, whoever dies when.
   * @returns the ids of the jobs, in their order
   * @throws JobQueueDrainError, JobQueueFull, OpPrereqError on a dependency that leads nowhere or too many jobs: the
   *   opcode is still running then
   */
  succeedSubmitting(id: JobId, opcodeIndex: number, followUps: FollowUps, fence: Fence): Promise<readonly JobId[]>;
  /** The opcode ends as error and gives its locks back; the rest of the job ends with it. */
  fail(id: JobId, opcodeIndex: number, error: EncodedError, fence: Fence): Promise<void>;
  /** A canceling job that nothing works on gives its locks back and ends as canceled; one that is over stays as it is. */
  finishCancel(id: JobId, fence: Fence): Promise<void>;
  log(id: JobId, opcodeIndex: number, type: LogEntryType, payload: unknown, fence: Fence): Promise<void>;

  /** Add to the running opcode's undo list, durably, before the step is taken. */
  pushUndo(id: JobId, opcodeIndex: number, step: UndoStep, fence: Fence): Promise<void>;
  /** Drop the whole undo list: the opcode is past the point of return. */
  clearUndo(id: JobId, opcodeIndex: number, fence: Fence): Promise<void>;

  cancel(id: JobId): Promise<Verdict>;
  /** Of the opcodes that have not begun to run; the lock request of one that waits moves with it. */
  changePriority(id: JobId, priority: number): Promise<Verdict>;
  archive(id: JobId): Promise<boolean>;
  /** Archive final jobs older than `ageSeconds` (-1: all). */
  autoArchive(ageSeconds: number, timeoutMs: number): Promise<{ readonly archived: number; readonly left: number }>;
  setDrained(drained: boolean): Promise<void>;
  isDrained(): Promise<boolean>;
  /** Jobs in each status that are not archived, for metrics and limits. */
  counts(): Promise<Readonly<Record<JobStatus, number>>>;
  /**
   * Jobs that can be begun and are owed a delivery, most urgent first, for the wake queue's sweeper: queued ones that
   * wait for no other job, and parked ones whose locks were granted.
   */
  readyJobs(): Promise<readonly ReadyJob[]>;

  /**
   * Called once by a new leader before it runs anything: waiting jobs go back to queued, those asked to cancel end
   * as canceled, and those whose opcode was running are answered, for their undo lists to be run and the jobs
   * ended. May be called again: what is not ended yet is answered again.
   */
  takeOver(fence: Fence): Promise<readonly Leftover[]>;

  /**
   * Called at each change of any job: status, log, priority, archival. Fed by one stream reader for the whole
   * process. Nothing is missed silently: after a gap (and when the reader starts) `onGap` is called, and then the
   * listener once for each job that is not archived, with its present status, so it must bear calls without a change.
   */
  onChange(listener: (change: JobChange) => void, onGap?: () => void): () => void;
  /**
   * Wait until every change that was made before this call has been told.
   * @throws Unavailable when changes cannot be read
   */
  caughtUp(): Promise<void>;
  close(): Promise<void>;
}

export interface DeliveryOptions {
  /** How many deliveries may be under way at once. */
  readonly concurrency: number;
  /** Jobs that can be begun but are not to be: no delivery is owed to them until somebody wakes them. */
  readonly isHeld?: (id: JobId) => boolean;
}

/** Delivers job ids to the executor. A delivery may come twice or for a job that is not to run: `begin` decides. */
export interface WakeQueue {
  /**
   * Deliver soon; lower priority numbers first. Each call is followed by a delivery that begins after it, also
   * when an earlier delivery of the job is still under way. While Redis is away the wake-up is kept and the
   * promise resolves nevertheless.
   */
  wake(id: JobId, priority: number): Promise<void>;
  /** Move a job's pending wake-up to another priority. When there is none a delivery may follow nevertheless. */
  reprioritize(id: JobId, priority: number): Promise<void>;
  /** Start deliveries; the handler's promise holds one of `concurrency` slots until it settles. */
  start(handler: (id: JobId) => Promise<void>, options: DeliveryOptions): void;
  setConcurrency(concurrency: number): void;
  /** Stop taking deliveries and wait for those under way. It can be started again. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

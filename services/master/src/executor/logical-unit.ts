/** The life of a logical unit: the code that performs one opcode. */

import type { LockCandidates, LockWish } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";
import type { Op, OpcodeDeclaration, OpResult, ParamShape } from "@gannet/opcodes";
import type { z } from "zod";
import type { HookPlan } from "../hooks/hook-plan.ts";
import type { HookFailure } from "../hooks/run-hooks.ts";
import type { ExecContext, PrereqContext } from "./context.ts";
import type { ResultWithJobs } from "./follow-up-jobs.ts";

/**
 * An opcode's implementation. The phases run in this order: `locks` (pure; run again on the newest
 * configuration once they are granted), `checkPrereq` (changes nothing), `exec`.
 */
export interface LogicalUnit<D extends OpcodeDeclaration = OpcodeDeclaration, Prereq = unknown> {
  readonly opcode: D;
  /** What of the opcode is asked for and cannot be done yet, in words; it is refused when it is submitted. */
  unavailable?(op: Op<D>): string | undefined;
  /** All locks of the opcode, from its parameters and the configuration alone (spec/locks.json). */
  locks(op: Op<D>, view: ConfigView): readonly LockWish[];
  /**
   * Beside those, locks of which whatever is free will do, if it is enough; undefined when the opcode needs none. Which
   * it got tells {@link PrereqContext.heldLocks}.
   */
  candidates?(op: Op<D>, view: ConfigView): LockCandidates | undefined;
  /** @throws OpPrereqError and its kin; what it answers is all that `exec` needs to know */
  checkPrereq(ctx: PrereqContext, op: Op<D>): Promise<Prereq> | Prereq;
  /** Each step that changes something registers its undo first; see {@link ExecContext.undo}. */
  exec(ctx: ExecContext, op: Op<D>, prereq: Prereq): Promise<UnitResult<OpResult<D>>>;
  /**
   * What the site's hooks are told of it, and where they run; called again after `exec`, with the configuration of then.
   * The opcode has no hooks without it.
   */
  hooks?(view: ConfigView, op: Op<D>, prereq: Prereq): HookPlan;
  /**
   * What becomes of the result when the hooks afterwards are over; without it their failures are told in the job's log,
   * and it stays.
   */
  afterHooks?(ctx: ExecContext, op: Op<D>, result: OpResult<D>, failures: readonly HookFailure[]): OpResult<D>;
  /** What a dry run answers instead of running; null when absent. */
  dryRunResult?(op: Op<D>, prereq: Prereq): unknown;
}

/** The opcode's result; of one that submits jobs, these and what its result says beside them. */
export type UnitResult<Result> =
  | Result
  | (Result extends { readonly jobs: unknown } ? ResultWithJobs<Omit<Result, "jobs">> : never);

/** Bind an implementation to its opcode's declaration. */
export function implement<Params extends ParamShape, Result extends z.ZodType, Prereq>(
  opcode: OpcodeDeclaration<Params, Result>,
  unit: Omit<LogicalUnit<OpcodeDeclaration<Params, Result>, Prereq>, "opcode">,
): LogicalUnit<OpcodeDeclaration<Params, Result>, Prereq> {
  return { opcode, ...unit };
}

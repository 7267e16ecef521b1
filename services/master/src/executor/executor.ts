/**
 * Runs jobs: takes what the wake queue delivers, begins each opcode in the ledger, with its locks, and drives its
 * logical unit. One executor lives for one term of leadership; its epoch is on every write.
 *
 * A job that has to wait (for locks, or for another job) is parked: the delivery ends, and whoever releases
 * what it waits for wakes it. It holds no slot, no promise and no timer.
 */
import { encodeError, GannetError, LockError, OpResultError, StaleEpoch } from "@gannet/errors";
import type { Beginning, Fence, Job, JobId, Leftover, WakeQueue } from "@gannet/job-ledger";
import type { LockWish } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";
import { type Op, type OpcodeDeclaration, parseOpcode } from "@gannet/opcodes";
import { refuseWhenDestroyed } from "../destroyed-cluster.ts";
import { runPostHooks, runPreHooks, tellOfHookFailures } from "../hooks/run-hooks.ts";
import { JobScheduling } from "../scheduling/job-scheduling.ts";
import { followUpsOf, ResultWithJobs, withoutIds } from "./follow-up-jobs.ts";
import { type LockNeeds, sameNeeds } from "./lock-wishes.ts";
import type { LogicalUnit } from "./logical-unit.ts";
import { type ExecutionServices, OpcodeContext } from "./opcode-context.ts";
import { RunningSlots } from "./running-slots.ts";
import type { SecretVault } from "./secret-vault.ts";
import { runUndo } from "./undo-actions.ts";

/** How an opcode went from its locks to its result, for measurements. */
export interface OpcodeEnd {
  readonly opcode: string;
  readonly result: "success" | "error";
  readonly ms: number;
}

export interface ExecutorOptions extends ExecutionServices {
  readonly onOpcodeEnd?: (end: OpcodeEnd) => void;
  readonly queue: WakeQueue;
  readonly units: ReadonlyMap<string, LogicalUnit>;
  readonly secrets: SecretVault;
  readonly fence: Fence;
  /** Aborted when leadership is lost: running opcodes end as fast as they can and write nothing more. */
  readonly lost: AbortSignal;
}

/** How long running opcodes may go on after the order to stop; systemd kills a service after 90 s. */
const STOP_GRACE_MS = 10_000;

/** While the opcodes of all slots run, as many more are delivered and read, so that no slot waits for that. */
const DELIVERIES_PER_SLOT = 2;

const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

/** What a delivery came to with one opcode: only after `done` is it the next one's turn. */
type OpcodeOutcome = Exclude<Beginning, "running"> | "failed" | "done";

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #running = new Set<Promise<void>>();
  readonly #abandon = new AbortController();
  readonly #slots: RunningSlots;
  /** Which jobs may be begun at all: filters and rate limits. */
  readonly #scheduling: JobScheduling;
  /** Aborted when nothing may be written any more: leadership is lost, or the process has to end now. */
  readonly #over: AbortSignal;
  readonly #unsubscribe: (() => void)[] = [];

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#over = AbortSignal.any([options.lost, this.#abandon.signal]);
    this.#slots = new RunningSlots(options.configStore.view.cluster.maxRunningJobs);
    this.#scheduling = new JobScheduling(options);
  }

  /** Finish what an older leader left, then take deliveries. */
  async start(): Promise<void> {
    const { ledger, configStore, queue, secrets } = this.#options;
    this.#scheduling.start(await this.#takeOver());
    this.#unsubscribe.push(
      ledger.onChange((change) => {
        if (change.status === "canceling") this.#detached(this.#endCanceled(change.id), "could not end a canceled job");
        if (FINAL.has(change.status)) secrets.forget(change.id);
      }),
      configStore.onChange(({ cluster: { maxRunningJobs } }) => {
        this.#slots.setLimit(maxRunningJobs);
        queue.setConcurrency(maxRunningJobs * DELIVERIES_PER_SLOT);
      }),
    );
    if (this.#over.aborted) return;
    const concurrency = configStore.view.cluster.maxRunningJobs * DELIVERIES_PER_SLOT;
    queue.start((id) => this.#deliver(id), { concurrency, isHeld: (id) => this.#scheduling.isHeld(id) });
  }

  /**
   * Take no more deliveries and wait for the running opcodes. Those that take longer are abandoned where they
   * are: the next leader undoes and ends them. After a loss of leadership it waits for as long as they take to
   * notice, which without Redis is until it is back.
   */
  async stop({ graceMs = STOP_GRACE_MS } = {}): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    const timer = setTimeout(() => this.#abandon.abort(), graceMs);
    // Together: what is woken from here on is for the next leader, who may be there already.
    await Promise.all([this.#scheduling.stop(), this.#options.queue.stop()]);
    await Promise.allSettled(this.#running);
    clearTimeout(timer);
  }

  async #deliver(id: JobId): Promise<void> {
    const running = this.#runJob(id);
    this.#running.add(running);
    try {
      await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #runJob(id: JobId): Promise<void> {
    try {
      const admitted = await this.#scheduling.admit(id);
      if (admitted === undefined) return;
      const { job } = admitted;
      const first = job.opcodes.findIndex(({ status }) => !FINAL.has(status));
      for (let index = first; index < job.opcodes.length; index += 1) {
        const outcome = await this.#runOpcode(job, index);
        if (outcome === "not taken" && (admitted.isNew || index > first)) this.#scheduling.leave(id);
        if (outcome !== "done") return;
      }
    } catch (error) {
      if (this.#isOver(error)) {
        this.#options.logger.warn({ job: id, err: error }, "stopped working on a job: no longer the leader");
        return;
      }
      this.#options.logger.error(
        { job: id, err: error },
        "a job could not be carried on; the sweeper or the next leader will",
      );
    }
  }

  async #runOpcode(job: Job, index: number): Promise<OpcodeOutcome> {
    const { ledger, fence } = this.#options;
    const context = this.#contextOf(job.id, index);
    let isRunning = false;
    let result: unknown;
    try {
      const { unit, op } = await this.#prepare(job, index);
      const begun = await this.#slots.run(job.opcodes[index]?.priority ?? 0, async () => {
        const beginning = await this.#begin(job, index, unit, op);
        isRunning = beginning.outcome === "running";
        if (!isRunning) return beginning.outcome;
        if (this.#hasMoved(beginning.needs, unit, op)) {
          await ledger.park(job.id, index, fence);
          return "parked";
        }
        result = await this.#measured(unit, () => execute(unit, op, context));
        return "running";
      });
      if (begun !== "running") return begun;
      await context.logged();
      if (result instanceof ResultWithJobs) {
        await this.#succeedSubmitting(job, index, result);
        return "done";
      }
    } catch (error) {
      if (this.#isOver(error)) throw error;
      // What keeps it from asking for its locks is its failure, too, once it is its turn.
      if (!isRunning && (await ledger.begin(job.id, index, fence)) !== "running") return "not taken";
      await this.#fail(job, index, error, context);
      return "failed";
    }
    const ended = ledger.succeed(job.id, index, result, fence);
    if (index + 1 < job.opcodes.length) {
      await ended;
      return "done";
    }
    // Nobody waits for the last opcode's end: the delivery ends beside it, not after it.
    this.#options.secrets.forget(job.id);
    this.#detached(ended, "the end of a job could not be written; the next leader will end it");
    return "done";
  }

  async #measured<Result>(unit: LogicalUnit, work: () => Promise<Result>): Promise<Result> {
    const startedMs = performance.now();
    const tell = (result: OpcodeEnd["result"]) =>
      this.#options.onOpcodeEnd?.({ opcode: unit.opcode.id, result, ms: performance.now() - startedMs });
    try {
      const answer = await work();
      tell("success");
      return answer;
    } catch (error) {
      tell("error");
      throw error;
    }
  }

  /** @throws what keeps the jobs from being submitted: then the opcode has not succeeded */
  async #succeedSubmitting(job: Job, index: number, result: ResultWithJobs): Promise<void> {
    const { ledger, secrets, units, fence } = this.#options;
    const followUps = followUpsOf(result, { job, index }, units);
    const submitted = followUps.jobs.filter((each) => "opcodes" in each);
    await secrets.submit(submitted, (stored) => {
      const left = [...stored];
      const jobs = followUps.jobs.map((each) => ("opcodes" in each ? (left.shift() ?? each) : each));
      return ledger.succeedSubmitting(job.id, index, { ...followUps, jobs }, fence);
    });
    if (index + 1 === job.opcodes.length) secrets.forget(job.id);
  }

  async #prepare(job: Job, index: number): Promise<{ unit: LogicalUnit; op: Op<OpcodeDeclaration> }> {
    const stored = job.opcodes[index]?.input;
    if (stored === undefined) throw new OpResultError(`Job ${job.id} has no opcode ${index}`);
    const { declaration, op } = parseOpcode(await this.#options.secrets.restore(job.id, index, stored));
    const unit = this.#options.units.get(declaration.id);
    if (unit === undefined) throw new OpResultError(`No logical unit performs ${declaration.id}`);
    return { unit, op };
  }

  /** Take the opcode's locks and begin, in one step of the ledger. */
  async #begin(
    job: Job,
    index: number,
    unit: LogicalUnit,
    op: Op<OpcodeDeclaration>,
  ): Promise<{ readonly outcome: Beginning; readonly needs: LockNeeds }> {
    const { ledger, configStore, fence } = this.#options;
    const begin = async () => {
      const needs = needsOf(unit, op, configStore.view);
      return { outcome: await ledger.begin(job.id, index, fence, needs), needs };
    };
    try {
      return await begin();
    } catch (error) {
      if (!(error instanceof LockError)) throw error;
      // It was parked for other locks than it needs by now.
      await this.#releaseAll(job.id);
      return await begin();
    }
  }

  /** The configuration changed while the locks were asked for, so that others are needed: all is to be asked anew. */
  #hasMoved(taken: LockNeeds, unit: LogicalUnit, op: Op<OpcodeDeclaration>): boolean {
    return !sameNeeds(taken, needsOf(unit, op, this.#options.configStore.view));
  }

  async #releaseAll(id: JobId): Promise<void> {
    const { locks, queue, fence } = this.#options;
    await wakeAll(queue, await locks.release(id, "all", fence));
  }

  async #fail(job: Job, index: number, error: unknown, context: OpcodeContext): Promise<void> {
    const { ledger, fence } = this.#options;
    if (error instanceof GannetError)
      context.logger.info({ err: error.message, class: error.wireClass }, "opcode failed");
    else context.logger.error({ err: error }, "opcode failed unexpectedly");
    await runUndo(context, context.undoList);
    await context.logged();
    await ledger.fail(job.id, index, encodeError(error), fence);
    this.#options.secrets.forget(job.id);
  }

  /** Without leadership nothing may be written or undone: the next leader does both from the ledger. */
  #isOver(error: unknown): boolean {
    return error instanceof StaleEpoch || this.#over.aborted;
  }

  /** A job canceled while it waited: nothing of it is running. */
  async #endCanceled(id: JobId): Promise<void> {
    await this.#options.ledger.finishCancel(id, this.#options.fence);
    this.#options.secrets.forget(id);
  }

  /**
   * Undo and end the opcodes that an older leader was running, and free the locks of jobs that are over. The undoing
   * goes on beside the other jobs: it may have to wait for a node that died together with that leader.
   *
   * @returns the jobs of those opcodes
   */
  async #takeOver(): Promise<readonly Job[]> {
    const { ledger, locks, fence } = this.#options;
    const leftovers = await ledger.takeOver(fence);
    // All other jobs are queued or final now: no other lock has a living owner.
    await locks.retainOwners(
      leftovers.map(({ job }) => job.id),
      fence,
    );
    for (const leftover of leftovers)
      this.#detached(this.#endLeftover(leftover), "an opcode of an older leader could not be ended");
    return leftovers.map(({ job }) => job);
  }

  async #endLeftover({ job, opcodeIndex, undo }: Leftover): Promise<void> {
    const { ledger, fence, logger } = this.#options;
    logger.warn({ job: job.id, opcode: opcodeIndex, steps: undo.length }, "undoing an opcode of an older leader");
    const context = this.#contextOf(job.id, opcodeIndex);
    const problems = await runUndo(context, undo);
    await context.logged();
    // Nothing was to be undone yet, or no longer: its work may be whole, and only its hooks were left to tell.
    const outcome = undo.length === 0 ? "what it has done by then stays as it is" : "what it had done was undone";
    const text = [`The master stopped while this opcode was running; ${outcome}`, ...problems].join("; ");
    await ledger.fail(job.id, opcodeIndex, ["OpExecError", [text]], fence);
  }

  #contextOf(jobId: JobId, opcodeIndex: number): OpcodeContext {
    return new OpcodeContext(this.#options, {
      jobId,
      opcodeIndex,
      fence: this.#options.fence,
      signal: this.#over,
      wake: (owners) => wakeAll(this.#options.queue, owners),
    });
  }

  #detached(work: Promise<unknown>, failure: string): void {
    const settled = work.then(
      () => undefined,
      (error: unknown) => {
        if (!this.#over.aborted) this.#options.logger.error({ err: error }, failure);
      },
    );
    this.#running.add(settled);
    void settled.finally(() => this.#running.delete(settled));
  }
}

async function execute(unit: LogicalUnit, op: Op<OpcodeDeclaration>, context: OpcodeContext): Promise<unknown> {
  refuseWhenDestroyed(context.config);
  const prereq = await unit.checkPrereq(context, op);
  const hooks = () => unit.hooks?.(context.config, op, prereq);
  const before = hooks();
  if (before !== undefined) await runPreHooks(context, unit.opcode.id, before);
  if (op.dry_run === true) {
    context.feedback.info("dry-run mode requested, not actually executing the operation");
    return unit.dryRunResult?.(op, prereq) ?? null;
  }
  const result = await unit.exec(context, op, prereq);
  const declared = result instanceof ResultWithJobs ? withoutIds(result) : result;
  const checked = unit.opcode.result.safeParse(declared);
  if (!checked.success)
    throw new OpResultError(`${unit.opcode.id} answered something else than it declares: ${checked.error.message}`);
  if (before !== undefined) {
    // Hooks may take minutes; what is done stays done if this process dies meanwhile.
    if (context.undoList.length > 0) await context.pointOfNoReturn();
    const configChanged = context.hasCommitted;
    const failures = await runPostHooks(context, unit.opcode.id, { before, after: hooks() ?? before, configChanged });
    if (unit.afterHooks !== undefined) return unit.afterHooks(context, op, result, failures);
    tellOfHookFailures(context, failures);
  }
  return result;
}

/** Before all that is queued: these hold locks, for which others may be waiting. */
const GRANTED_PRIORITY = -20;

/** Tell the wake queue of jobs whose locks were granted. */
export async function wakeAll(queue: Pick<WakeQueue, "wake">, owners: readonly JobId[]): Promise<void> {
  await Promise.all(owners.map((id) => queue.wake(id, GRANTED_PRIORITY)));
}

const SHARED_BIG_LOCK: LockWish = { level: "cluster", name: "BGL", mode: "shared" };

function needsOf(unit: LogicalUnit, op: Op<OpcodeDeclaration>, view: ConfigView): LockNeeds {
  const wishes = withBigLock(unit.locks(op, view));
  const candidates = unit.candidates?.(op, view);
  return candidates === undefined ? { wishes } : { wishes, candidates };
}

/** Every opcode holds the big lock, shared unless it asks for it (spec/locks.json, `bgl`). */
function withBigLock(wishes: readonly LockWish[]): readonly LockWish[] {
  return wishes.some((wish) => wish.level === "cluster") ? wishes : [SHARED_BIG_LOCK, ...wishes];
}

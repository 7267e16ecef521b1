/**
 * Every call that changes something on this node goes through here: it is fenced by its leader's epoch, serialised
 * with others on the same resources, and answered once.
 */
import { decodeGrpcError, encodeGrpcError, OpPrereqError, StaleEpoch } from "@gannet/errors";
import type { MethodDefinition, Step } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { ExecutionLog } from "./execution-log.ts";
import type { Fence } from "./fence.ts";
import type { ResourceQueue } from "./resource-queue.ts";
import type { StepJournal } from "./step-journal.ts";
import { UNTIL_REBOOT } from "./until-reboot.ts";

export interface StepRequest<Reply> {
  readonly step: Step | undefined;
  readonly method: Pick<MethodDefinition<never, Reply>, "path" | "responseSerialize" | "responseDeserialize">;
  /** What the work touches (`resources.ts`). */
  readonly resources: readonly string[];
  /** Must be idempotent: it is done again when the agent was killed in the middle of it, or it was aborted. */
  readonly work: (signal: AbortSignal) => Promise<Reply>;
}

/** A step under way, with those who wait for its answer. */
interface RunningStep {
  readonly epoch: number;
  readonly abort: AbortController;
  readonly outcome: Promise<unknown>;
  callers: number;
}

const STEP_NAME = /^[\x20-\x7e]{1,200}$/;

export class Steps {
  readonly #fence: Fence;
  readonly #journal: StepJournal;
  readonly #queue: ResourceQueue;
  readonly #executions: ExecutionLog | undefined;
  readonly #logger: Logger;
  readonly #running = new Map<string, RunningStep>();

  constructor(parts: {
    fence: Fence;
    journal: StepJournal;
    queue: ResourceQueue;
    executions: ExecutionLog | undefined;
    logger: Logger;
  }) {
    this.#fence = parts.fence;
    this.#journal = parts.journal;
    this.#queue = parts.queue;
    this.#executions = parts.executions;
    this.#logger = parts.logger;
  }

  /**
   * Do a step once. A step that has finished is answered as it was the first time, its failure too, unless the node has
   * booted anew since and nothing is left of it (`until-reboot.ts`). One that is under way is joined, and is aborted
   * when all its callers have gone. What was aborted has no answer and may be asked for again.
   * @throws StaleEpoch, or what the work throws
   */
  async run<Reply>(request: StepRequest<Reply>, signal: AbortSignal): Promise<Reply> {
    const step = checkStep(request.step);
    await this.#fence.admit(step.epoch);
    const key = `${step.jobId}/${step.opcodeIndex} ${request.method.path} ${step.step}`;
    for (;;) {
      const answer = this.#journal.answer(key, UNTIL_REBOOT.has(request.method.path) ? "this boot" : "any boot");
      if (answer !== undefined) {
        this.#logger.info({ ...labels(step), method: request.method.path }, "step answered again");
        if ("error" in answer) throw decodeGrpcError(answer.error);
        return request.method.responseDeserialize(answer.reply);
      }
      const running = this.#running.get(key);
      if (running === undefined) break;
      if (running.epoch === step.epoch && !running.abort.signal.aborted) return join(running, signal) as Promise<Reply>;
      running.abort.abort(new StaleEpoch(`The leader of epoch ${step.epoch} asked for this step again`));
      await running.outcome.catch(() => {});
    }
    return join(this.#start(key, step, request), signal) as Promise<Reply>;
  }

  #start<Reply>(key: string, step: Step, request: StepRequest<Reply>): RunningStep {
    const abort = new AbortController();
    const outcome = this.#perform(key, step, request, abort.signal).finally(() => this.#running.delete(key));
    const running = { epoch: step.epoch, abort, outcome, callers: 0 };
    this.#running.set(key, running);
    return running;
  }

  async #perform<Reply>(key: string, step: Step, request: StepRequest<Reply>, signal: AbortSignal): Promise<Reply> {
    const startedAt = performance.now();
    const entry = () => ({
      ...labels(step),
      method: request.method.path,
      durationMs: Math.round(performance.now() - startedAt),
    });
    try {
      const reply = await this.#queue.run({
        resources: request.resources,
        epoch: step.epoch,
        signal,
        check: () => this.#fence.check(step.epoch),
        perform: async (running) => {
          await this.#executions?.begun(step, request.method.path);
          return await request.work(running);
        },
      });
      await this.#journal.record(key, { reply: request.method.responseSerialize(reply) });
      this.#logger.info(entry(), "step done");
      return reply;
    } catch (error) {
      if (signal.aborted || error instanceof StaleEpoch) {
        this.#logger.warn({ ...entry(), error: String(error) }, "step aborted");
        throw error;
      }
      this.#logger.warn({ ...entry(), error: String(error) }, "step failed");
      // What failed matters more than that its failure could not be kept.
      await this.#journal.record(key, { error: encodeGrpcError(error).wire }).catch(() => {});
      throw error;
    }
  }
}

/** Wait for a step's outcome; the last caller to go aborts it. */
async function join(running: RunningStep, signal: AbortSignal): Promise<unknown> {
  running.callers += 1;
  const leave = () => {
    running.callers -= 1;
    if (running.callers === 0) running.abort.abort(signal.reason);
  };
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  try {
    return await running.outcome;
  } finally {
    signal.removeEventListener("abort", leave);
  }
}

function labels(step: Step): object {
  return { job: step.jobId, opcode: step.opcodeIndex, step: step.step, epoch: step.epoch };
}

function checkStep(step: Step | undefined): Step {
  if (step === undefined) throw new OpPrereqError("The request names no step", "wrong_input");
  if (!STEP_NAME.test(step.step) || step.jobId < 0)
    throw new OpPrereqError(`Job ${step.jobId}, step ${JSON.stringify(step.step)}: not a step's name`, "wrong_input");
  return step;
}

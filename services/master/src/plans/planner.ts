/**
 * Computes plans beside the master's own work. A balance plan for 5,000 instances takes seconds of a processor, and the
 * event loop that it would hold up renews the leader's lease: so a thread of its own does it, one at a time.
 */
import path from "node:path";
import { Worker } from "node:worker_threads";
import { Unavailable } from "@gannet/errors";
import type { Plan, PlanKind, PlanOrder } from "./plans.ts";

/** Long enough for a cluster of many thousand instances; one that takes longer is not waited for. */
const LONGEST_PLAN_MS = 60_000;
/** Requests that wait while a plan is computed; more are refused. */
const MOST_WAITING = 8;
/** To begin a thread takes longer than most plans: it is kept for the next one for so long. */
const IDLE_MS = 30_000;

/** Beside this file in the repository, beside the daemon's one file in a package. */
const WORKER = path.join(import.meta.dirname, `plan-worker${path.extname(import.meta.filename)}`);

export class Planner {
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /**
   * @param signal - aborted when nobody waits for the plan any more
   * @throws Unavailable when it takes too long, and when too many wait
   */
  async plan<Kind extends PlanKind>(order: PlanOrder<Kind>, signal: AbortSignal): Promise<Plan<Kind>> {
    if (this.#waiting >= MOST_WAITING)
      throw new Unavailable(`${MOST_WAITING} plans are waited for already; ask again in a minute`);
    this.#waiting += 1;
    const computed = this.#turn.then(() => this.#compute(order, signal));
    this.#turn = computed.catch(() => undefined);
    try {
      return (await computed) as Plan<Kind>;
    } finally {
      this.#waiting -= 1;
    }
  }

  #compute(order: PlanOrder, signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted();
    clearTimeout(this.#idle);
    this.#worker ??= this.#begin();
    const worker = this.#worker;
    // While it computes, the thread is waited for; an idle one keeps no process alive.
    worker.ref();
    return new Promise<unknown>((resolve, reject) => {
      const tooLong = new Unavailable(`The plan takes longer than ${LONGEST_PLAN_MS / 1000} s; ask for one group`);
      const timer = setTimeout(() => fail(tooLong), LONGEST_PLAN_MS);
      const settle = () => {
        clearTimeout(timer);
        worker.off("error", fail).off("message", succeed);
        signal.removeEventListener("abort", abort);
      };
      // What a thread has begun it cannot be told to leave.
      const fail = (error: unknown) => {
        settle();
        this.#end();
        reject(error);
      };
      const abort = () => fail(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      const succeed = (plan: unknown) => {
        settle();
        worker.unref();
        this.#idle = setTimeout(() => this.#end(), IDLE_MS).unref();
        resolve(plan);
      };
      worker.once("error", fail).once("message", succeed);
      worker.postMessage(order);
    });
  }

  /** What goes wrong in a thread that nobody waits for must not end the master, as an error without a listener does. */
  #begin(): Worker {
    const worker = new Worker(WORKER);
    worker.on("error", () => {
      if (this.#worker === worker) this.#worker = undefined;
    });
    return worker;
  }

  #end(): void {
    void this.#worker?.terminate();
    this.#worker = undefined;
  }
}

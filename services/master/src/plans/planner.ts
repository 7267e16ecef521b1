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

/** Beside this file in the repository, beside the daemon's one file in a package. */
const WORKER = path.join(import.meta.dirname, `plan-worker${path.extname(import.meta.filename)}`);

export class Planner {
  #turn: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /**
   * @param signal - aborted when nobody waits for the plan any more
   * @throws Unavailable when it takes too long, and when too many wait
   */
  async plan<Kind extends PlanKind>(order: PlanOrder<Kind>, signal: AbortSignal): Promise<Plan<Kind>> {
    if (this.#waiting >= MOST_WAITING)
      throw new Unavailable(`${MOST_WAITING} plans are waited for already; ask again in a minute`);
    this.#waiting += 1;
    const before = this.#turn;
    const computed = before.then(() => compute(order, signal));
    this.#turn = computed.catch(() => undefined);
    try {
      return (await computed) as Plan<Kind>;
    } finally {
      this.#waiting -= 1;
    }
  }
}

function compute(order: PlanOrder, signal: AbortSignal): Promise<unknown> {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { workerData: order });
    const timer = setTimeout(() => {
      end(() => reject(new Unavailable(`The plan takes longer than ${LONGEST_PLAN_MS / 1000} s; ask for one group`)));
    }, LONGEST_PLAN_MS);
    const abort = () => end(() => reject(signal.reason as Error));
    const end = (settle: () => void) => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      settle();
      void worker.terminate();
    };
    signal.addEventListener("abort", abort, { once: true });
    worker.once("message", (plan) => end(() => resolve(plan)));
    worker.once("error", (error) => end(() => reject(error)));
  });
}

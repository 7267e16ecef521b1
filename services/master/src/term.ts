/**
 * One term of leadership: everything that only the leader does, from the election to the loss of the lease.
 */
import type { WakeQueue } from "@gannet/job-ledger";
import type { Leadership } from "@gannet/locking";
import { Executor, type ExecutorOptions } from "./executor/executor.ts";
import { keepArchiving } from "./executor/job-archiving.ts";
import { keepAging } from "./executor/lock-aging.ts";
import type { RedisGuard } from "./leader-watermark-guard.ts";
import type { MemoryLiveState } from "./live-state/live-state.ts";
import { NodeWatcher } from "./nodes/node-watcher.ts";

export interface TermOptions extends Omit<ExecutorOptions, "fence" | "lost" | "live"> {
  readonly live: MemoryLiveState;
  readonly leadership: Leadership;
  /** Aborted when Redis has lost data: the term is over as if the lease were lost. */
  readonly trust: AbortSignal;
  readonly guard: Pick<RedisGuard, "confirm" | "trusted">;
}

/** Lead until the lease is lost or `stop` is aborted; everything of the term has ended when it resolves. */
export async function lead(options: TermOptions, stop: AbortSignal): Promise<void> {
  const { leadership, configStore, live, node, logger } = options;
  const { epoch } = leadership;
  const lost = AbortSignal.any([leadership.lost, options.trust]);
  logger.info({ epoch }, "leading");
  const watcher = new NodeWatcher({ live, node, epoch, logger });
  const unfollow = configStore.onChange((view) => watcher.follow(view));
  const over = AbortSignal.any([lost, stop]);
  const queue = trustedDeliveries(options.queue, () => options.guard.trusted(over));
  const executor = new Executor({ ...options, queue, fence: { epoch }, lost });
  try {
    // The epoch is in the watermark before anything is done under it.
    if (!(await options.guard.confirm())) return;
    watcher.follow(configStore.view);
    await executor.start();
    // A look that is under way at the end is not waited for: it is fenced, like all that a term writes.
    void keepAging({ ...options, fence: { epoch } }, over);
    void keepArchiving(options, over);
    await aborted(over);
  } finally {
    unfollow();
    await executor.stop();
    await watcher.stop();
    const leaseWasLost = leadership.lost.aborted;
    if (!leaseWasLost) await leadership.resign();
    logger.info({ epoch }, leaseWasLost ? "the lease was lost; no longer leading" : "resigned");
  }
}

/**
 * No job is taken from a Redis that has just come back before it is known to be the one that went: on older data jobs
 * that have run stand queued.
 */
function trustedDeliveries(queue: WakeQueue, trusted: () => Promise<unknown>): WakeQueue {
  return {
    wake: (id, priority) => queue.wake(id, priority),
    reprioritize: (id, priority) => queue.reprioritize(id, priority),
    setConcurrency: (concurrency) => queue.setConcurrency(concurrency),
    stop: () => queue.stop(),
    close: () => queue.close(),
    start: (handler, options) =>
      queue.start(async (id) => {
        const goesOn = await trusted().then(
          () => true,
          () => false,
        );
        if (goesOn) await handler(id);
      }, options),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/**
 * One term of leadership: everything that only the leader does, from the election to the loss of the lease.
 */
import type { Leadership } from "@gannet/locking";
import { Executor, type ExecutorOptions } from "./executor/executor.ts";
import type { MemoryLiveState } from "./live-state/live-state.ts";
import { NodeWatcher } from "./nodes/node-watcher.ts";

export interface TermOptions extends Omit<ExecutorOptions, "fence" | "lost" | "live"> {
  readonly live: MemoryLiveState;
  readonly leadership: Leadership;
}

/** Lead until the lease is lost or `stop` is aborted; everything of the term has ended when it resolves. */
export async function lead(options: TermOptions, stop: AbortSignal): Promise<void> {
  const { leadership, configStore, live, node, logger } = options;
  const { epoch, lost } = leadership;
  logger.info({ epoch }, "leading");
  const watcher = new NodeWatcher({ live, node, epoch, logger });
  watcher.follow(configStore.view);
  const unfollow = configStore.onChange((view) => watcher.follow(view));
  const executor = new Executor({ ...options, fence: { epoch }, lost });
  try {
    await executor.start();
    await aborted(AbortSignal.any([lost, stop]));
  } finally {
    unfollow();
    await executor.stop();
    await watcher.stop();
    const wasLost = lost.aborted;
    if (!wasLost) await leadership.resign();
    logger.info({ epoch }, wasLost ? "the lease was lost; no longer leading" : "resigned");
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

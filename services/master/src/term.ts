/**
 * One term of leadership: everything that only the leader does, from the election to the loss of the lease.
 */
import type { Fence, LeaderNotes } from "@gannet/config-store";
import type { WakeQueue } from "@gannet/job-ledger";
import type { Leadership } from "@gannet/locking";
import type { Redis } from "@gannet/redis";
import { OBSERVER_EPOCH } from "@gannet/rpc";
import { Executor, type ExecutorOptions } from "./executor/executor.ts";
import { keepArchiving } from "./executor/job-archiving.ts";
import { keepAging } from "./executor/lock-aging.ts";
import type { RedisGuard } from "./leader-watermark-guard.ts";
import { keepConfigurationCopies } from "./leadership/configuration-copies.ts";
import type { KnownServers } from "./leadership/known-servers.ts";
import { keepMasterServers } from "./leadership/master-servers-keeper.ts";
import type { Handover, Masters } from "./leadership/masters.ts";
import { Office } from "./leadership/office.ts";
import type { MemoryLiveState } from "./live-state/live-state.ts";
import { keepCertificates } from "./membership/certificate-keeper.ts";
import type { NodeWatcher } from "./nodes/node-watcher.ts";
import { type FailoverSettings, NodeFailover } from "./watcher/failover/node-failover.ts";
import { SelfFenceKeeper } from "./watcher/failover/self-fence-keeper.ts";
import { OfflineNodes } from "./watcher/offline-nodes.ts";
import { Watcher, type WatcherSettings } from "./watcher/watcher.ts";
import { WatcherHooks } from "./watcher/watcher-hooks.ts";

export interface TermOptions extends Omit<ExecutorOptions, "fence" | "lost" | "live"> {
  readonly live: MemoryLiveState;
  readonly leadership: Leadership;
  /** Aborted when Redis has lost data: the term is over as if the lease were lost. */
  readonly trust: AbortSignal;
  readonly guard: Pick<RedisGuard, "confirm" | "trusted">;
  readonly notes: LeaderNotes;
  /** Watches as an observer before the term and after it. */
  readonly nodeWatcher: Pick<NodeWatcher, "watchAs">;
  readonly watcher: WatcherSettings;
  readonly automaticFailover: FailoverSettings;
  /** Of this master. */
  readonly nodeName: string;
  readonly masters: Pick<Masters, "inOffice" | "survey">;
  readonly knownServers: KnownServers;
  /** The leader's connection for looking after the masters' servers. */
  readonly serversRedis: Redis;
}

/** Lead until the lease is lost or `stop` is aborted; everything of the term has ended when it resolves. */
export async function lead(options: TermOptions, stop: AbortSignal): Promise<void> {
  const { leadership, nodeWatcher, logger } = options;
  const { epoch } = leadership;
  const lost = AbortSignal.any([leadership.lost, options.trust]);
  logger.info({ epoch }, "leading");
  const handedOver = new AbortController();
  let handover: Handover | undefined;
  using _ = options.masters.inOffice((wish) => {
    handover ??= wish;
    handedOver.abort();
  });
  const over = AbortSignal.any([lost, stop, handedOver.signal]);
  const office = new Office({ ...options, fence: { epoch } });
  const queue = trustedDeliveries(options.queue, () => options.guard.trusted(over));
  const executor = new Executor({ ...options, queue, fence: { epoch }, lost });
  try {
    // The epoch is in the watermark before anything is done under it.
    if (!(await options.guard.confirm(epoch))) return;
    await office.take();
    nodeWatcher.watchAs(epoch);
    await executor.start();
    void office.keepAddress(over);
    void keepMasterServers({ ...options, fence: { epoch } }, over);
    void keepConfigurationCopies({ ...options, fence: { epoch } }, over);
    // A look that is under way at the end is not waited for: it is fenced, like all that a term writes.
    void keepAging({ ...options, fence: { epoch } }, over);
    void keepArchiving(options, over);
    if (options.certificates !== undefined)
      void keepCertificates({ ...options, certificates: options.certificates, fence: { epoch } }, over);
    watch({ ...options, fence: { epoch } }, over);
    await aborted(over);
  } finally {
    await Promise.all([office.leave(), executor.stop(handover)]);
    nodeWatcher.watchAs(OBSERVER_EPOCH);
    const leaseWasLost = leadership.lost.aborted;
    if (!leaseWasLost) await leadership.resign(handover?.successor);
    logger.info({ epoch }, leaseWasLost ? "the lease was lost; no longer leading" : "resigned");
  }
}

/** The watcher, and what fences nodes for it. Nobody waits for a look that is under way at the end: see above. */
function watch(options: TermOptions & { readonly fence: Fence }, over: AbortSignal): void {
  const { watcher, automaticFailover: failover } = options;
  const isOn = watcher.enabled && failover.enabled;
  const selfFences = new SelfFenceKeeper({ ...options, timeoutMs: isOn ? failover.selfFenceMs : 0 });
  void selfFences.run(over);
  if (!watcher.enabled) return;
  const clocks = { clock: Date.now, monotonic: () => performance.now() };
  const nodeFailover = isOn ? new NodeFailover({ ...options, ...clocks, settings: failover, selfFences }) : undefined;
  const hooks = new WatcherHooks({ ...options, intervalMs: watcher.hooksMs });
  const offlineNodes = new OfflineNodes(options);
  void new Watcher({ ...options, settings: watcher, failover: nodeFailover, hooks, offlineNodes }).run(over);
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

/** Keeps one live-state stream to each node of the cluster and feeds the live state with what it says. */
import { setTimeout as delay } from "node:timers/promises";
import { StaleEpoch } from "@gannet/errors";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import { type NodeClient, OBSERVER_EPOCH } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { MemoryLiveState } from "../live-state/live-state.ts";

/** The longest silence an agent keeps. */
const HEARTBEAT_MS = 2_000;
/** After this silence a node counts as unreachable: three heartbeats. */
const SILENCE_LIMIT_MS = 6_000;
const RECONNECT_MIN_MS = 200;
const RECONNECT_MAX_MS = 5_000;

export interface NodeWatcherOptions {
  readonly live: MemoryLiveState;
  readonly node: (uuid: NodeUuid) => NodeClient;
  readonly logger: Logger;
}

/** The streams to one node: one, or while that is being opened anew, the former beside it. */
interface Watch {
  readonly name: string;
  readonly stop: AbortController;
  readonly done: Promise<unknown>;
}

export class NodeWatcher {
  readonly #options: NodeWatcherOptions;
  readonly #watches = new Map<NodeUuid, Watch>();
  #epoch = OBSERVER_EPOCH;

  constructor(options: NodeWatcherOptions) {
    this.#options = options;
  }

  /** Watch exactly the nodes that are in the configuration and not marked offline. */
  follow(view: ConfigView): void {
    for (const [uuid, watch] of this.#watches) {
      if (view.nodes.get(uuid)?.offline === false) continue;
      watch.stop.abort();
      this.#watches.delete(uuid);
      this.#options.live.forget(uuid);
    }
    for (const { uuid, name, offline } of view.nodes.values())
      if (!offline && !this.#watches.has(uuid)) this.#begin(uuid, name);
  }

  /**
   * Watch as the leader of this epoch, or with `OBSERVER_EPOCH` as a master that stands by. What nodes have said goes
   * on to count until each says it anew: whoever takes the lead knows the nodes from the first moment.
   */
  watchAs(epoch: number): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    for (const [uuid, watch] of this.#watches) this.#begin(uuid, watch.name, watch);
  }

  /** End all streams; without them nothing that the nodes have said counts any more. */
  async stop(): Promise<void> {
    const watches = [...this.#watches];
    this.#watches.clear();
    for (const [, watch] of watches) watch.stop.abort();
    await Promise.all(watches.map(([, watch]) => watch.done));
    for (const [uuid] of watches) this.#options.live.lose(uuid);
  }

  #begin(uuid: NodeUuid, name: string, former?: Watch): void {
    const stop = new AbortController();
    const takeOver = () => former?.stop.abort();
    stop.signal.addEventListener("abort", takeOver, { once: true });
    const watching = this.#watch({ uuid, name, epoch: this.#epoch, stop: stop.signal, takeOver });
    this.#watches.set(uuid, { name, stop, done: Promise.all([watching, former?.done]) });
  }

  async #watch({ uuid, name, stop, takeOver, ...task }: WatchTask): Promise<void> {
    let { epoch } = task;
    let pauseMs = RECONNECT_MIN_MS;
    while (!stop.aborted) {
      let end: unknown;
      try {
        await this.#follow(uuid, epoch, stop, () => {
          takeOver();
          pauseMs = RECONNECT_MIN_MS;
        });
      } catch (error) {
        end = error;
        if (!stop.aborted) this.#options.logger.debug({ node: name, err: error }, "the live-state stream ended");
      }
      // Whether the node still answers, the stream that is being opened in this one's place finds out.
      if (stop.aborted || this.#watches.get(uuid)?.stop.signal !== stop) return;
      if (end instanceof StaleEpoch && epoch !== OBSERVER_EPOCH) {
        // The next leader was quicker than the news that this one's term is over; the node is there.
        epoch = OBSERVER_EPOCH;
        continue;
      }
      takeOver();
      this.#options.live.lose(uuid);
      await delay(pauseMs, undefined, { signal: stop }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, RECONNECT_MAX_MS);
    }
  }

  /** One stream, until it ends or falls silent. */
  async #follow(uuid: NodeUuid, epoch: number, stop: AbortSignal, heard: () => void): Promise<void> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS);
    try {
      const signal = AbortSignal.any([stop, silence.signal]);
      const updates = this.#options.node(uuid).node.watch({ epoch, heartbeatMs: HEARTBEAT_MS }, { signal });
      for await (const update of updates) {
        // What was read before the stop must not count after it.
        if (signal.aborted) return;
        timer.refresh();
        heard();
        this.#options.live.apply(uuid, update);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

interface WatchTask {
  readonly uuid: NodeUuid;
  readonly name: string;
  readonly epoch: number;
  readonly stop: AbortSignal;
  /** From here on the former stream, if there is one, counts no more. */
  readonly takeOver: () => void;
}

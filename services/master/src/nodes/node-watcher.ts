/** Keeps one live-state stream to each node of the cluster and feeds the live state with what it says. */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
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
  /** The leader's; `OBSERVER_EPOCH` for a master that stands by. */
  readonly epoch: number;
  readonly logger: Logger;
}

export class NodeWatcher {
  readonly #options: NodeWatcherOptions;
  readonly #watches = new Map<NodeUuid, { readonly stop: AbortController; readonly done: Promise<void> }>();

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
    for (const node of view.nodes.values()) {
      if (node.offline || this.#watches.has(node.uuid)) continue;
      const stop = new AbortController();
      this.#watches.set(node.uuid, { stop, done: this.#watch(node.uuid, node.name, stop.signal) });
    }
  }

  /** End all streams; without them nothing that the nodes have said counts any more. */
  async stop(): Promise<void> {
    const watches = [...this.#watches];
    this.#watches.clear();
    for (const [, watch] of watches) watch.stop.abort();
    await Promise.all(watches.map(([, watch]) => watch.done));
    for (const [uuid] of watches) this.#options.live.lose(uuid);
  }

  async #watch(uuid: NodeUuid, name: string, stop: AbortSignal): Promise<void> {
    let pauseMs = RECONNECT_MIN_MS;
    while (!stop.aborted) {
      try {
        await this.#follow(uuid, stop, () => {
          pauseMs = RECONNECT_MIN_MS;
        });
      } catch (error) {
        if (!stop.aborted) this.#options.logger.debug({ node: name, err: error }, "the live-state stream ended");
      }
      if (stop.aborted) return;
      this.#options.live.lose(uuid);
      await delay(pauseMs, undefined, { signal: stop }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, RECONNECT_MAX_MS);
    }
  }

  /** One stream, until it ends or falls silent. */
  async #follow(uuid: NodeUuid, stop: AbortSignal, heard: () => void): Promise<void> {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_LIMIT_MS);
    try {
      const signal = AbortSignal.any([stop, silence.signal]);
      const updates = this.#options
        .node(uuid)
        .node.watch({ epoch: this.#options.epoch, heartbeatMs: HEARTBEAT_MS }, { signal });
      for await (const update of updates) {
        timer.refresh();
        heard();
        this.#options.live.apply(uuid, update);
      }
    } finally {
      clearTimeout(timer);
    }
  }
}

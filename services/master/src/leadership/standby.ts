/** What a master does while it waits to lead. */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore } from "@gannet/config-store";
import type { NodeUuid } from "@gannet/objects";
import { type NodeClient, OBSERVER_EPOCH } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { MemoryLiveState } from "../live-state/live-state.ts";
import { NodeWatcher } from "../nodes/node-watcher.ts";
import { mayLead } from "./office.ts";

const LOOK_MS = 500;

/** Follows what the nodes tell, so that reads are answered here as they are by the leader. It changes nothing. */
export class StandbyWatch implements AsyncDisposable {
  readonly #watcher: NodeWatcher;
  readonly #unfollow: () => void;

  constructor(parts: {
    readonly live: MemoryLiveState;
    readonly node: (uuid: NodeUuid) => NodeClient;
    readonly configStore: Pick<ConfigStore, "view" | "onChange">;
    readonly logger: Logger;
  }) {
    const watcher = new NodeWatcher({ ...parts, epoch: OBSERVER_EPOCH });
    watcher.follow(parts.configStore.view);
    this.#watcher = watcher;
    this.#unfollow = parts.configStore.onChange((view) => watcher.follow(view));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unfollow();
    await this.#watcher.stop();
  }
}

/**
 * Wait until the master on this node may lead. @returns a signal that is aborted when it may not any more
 * @throws the given signal's reason
 */
export async function eligible(
  configStore: Pick<ConfigStore, "view" | "onChange">,
  nodeName: string,
  stop: AbortSignal,
): Promise<AbortSignal & Disposable> {
  while (!mayLead(configStore.view, nodeName)) await delay(LOOK_MS, undefined, { signal: stop });
  const over = new AbortController();
  const unfollow = configStore.onChange((view) => {
    if (!mayLead(view, nodeName)) over.abort(new Error(`The master on ${nodeName} may not lead any more`));
  });
  return Object.assign(over.signal, { [Symbol.dispose]: unfollow });
}

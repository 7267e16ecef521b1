/** One master's stream of live state. */
import type {
  InstanceGone,
  InstanceState,
  LiveStateUpdate,
  LiveStateUpdate_Snapshot,
  NodeState,
  OsDefinition,
} from "@gannet/rpc";

const HEARTBEAT: LiveStateUpdate = { update: { $case: "heartbeat", value: {} } };

/**
 * Holds what has not been sent yet. A later update of the same thing replaces the earlier one, so that a leader
 * that reads slowly costs no more memory than there are things to tell of.
 */
export class Watcher {
  readonly epoch: number;
  readonly #heartbeatMs: number;
  readonly #pending = new Map<string, LiveStateUpdate>();
  #wake: () => void = () => {};
  #end: { readonly error: Error | undefined } | undefined;

  constructor(options: { readonly epoch: number; readonly heartbeatMs: number }) {
    this.epoch = options.epoch;
    this.#heartbeatMs = options.heartbeatMs;
  }

  /** Replaces all that was pending. */
  snapshot(value: LiveStateUpdate_Snapshot): void {
    this.#pending.clear();
    this.#push("snapshot", { update: { $case: "snapshot", value } });
  }

  node(node: NodeState): void {
    this.#push("node", { update: { $case: "node", value: node } });
  }

  instance(state: InstanceState): void {
    this.#push(`instance ${state.name}`, { update: { $case: "instance", value: state } });
  }

  instanceGone(gone: InstanceGone): void {
    this.#push(`instance ${gone.name}`, { update: { $case: "instanceGone", value: gone } });
  }

  os(definitions: readonly OsDefinition[]): void {
    this.#push("os", { update: { $case: "os", value: { os: [...definitions] } } });
  }

  /** End the stream, after what is pending is sent; with an error it ends so at once. */
  end(error?: Error): void {
    this.#end ??= { error };
    this.#wake();
  }

  /** What is told, in the order in which it was first pending, and a heartbeat in each silence. */
  async *updates(): AsyncGenerator<LiveStateUpdate> {
    while (true) {
      if (this.#end?.error !== undefined) throw this.#end.error;
      const [next] = this.#pending;
      if (next !== undefined) {
        this.#pending.delete(next[0]);
        yield next[1];
      } else if (this.#end !== undefined) return;
      else if ((await this.#newsWithin(this.#heartbeatMs)) === "silence") yield HEARTBEAT;
    }
  }

  #push(key: string, update: LiveStateUpdate): void {
    this.#pending.set(key, update);
    this.#wake();
  }

  #newsWithin(limitMs: number): Promise<"news" | "silence"> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve("silence"), limitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve("news");
      };
    });
  }
}

/** What the configuration store does. `RedisConfigStore` is the implementation. */
import type { ConfigView, Entities, EntityKind } from "@gannet/objects";

export interface Fence {
  readonly epoch: number;
}

/**
 * One row to write or remove. `row.serialNo` is the serial that was read (0: the row must not exist yet);
 * the commit raises it and sets `mtime`.
 */
export type ConfigChange = {
  readonly [K in EntityKind]:
    | { readonly kind: K; readonly put: Entities[K] }
    | { readonly kind: K; readonly remove: Entities[K] };
}[EntityKind];

export interface ConfigStore {
  /** The newest configuration, complete and in memory. Each commit makes a new one; old ones stay valid to read. */
  readonly view: ConfigView;
  /**
   * Commit a set of changes, all or nothing. The function is pure and is called again on the newest view
   * when a row it changed was changed by another: up to a bounded number of times.
   * @throws StaleEpoch, ConfigurationConflict (names or MACs not unique, worked out from rows that are no longer
   *   there, or too many retries), ConfigurationError (a row that its schema refuses), whatever `change` throws;
   *   Unavailable when Redis stayed away for too long: then it is not known whether the commit was made
   */
  commit(
    change: (view: ConfigView) => readonly ConfigChange[],
    fence: Fence,
    options?: { readonly patienceMs?: number },
  ): Promise<ConfigView>;
  /** Called after each commit, by whomever it was made, with what changed. */
  onChange(listener: (view: ConfigView, changed: readonly ConfigChange[]) => void): () => void;
  close(): Promise<void>;
}

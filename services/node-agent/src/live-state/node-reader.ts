/**
 * Reads the node's facts apart from its guests: storage that is slow or hangs holds up no news of guests. One read
 * at a time, so that an old one never overwrites a newer one.
 */
import type { NodeState } from "@gannet/rpc";

/** Whether the space of the storage is read, or told as it was read last. */
export type SpaceWanted = "read" | "known";

export class NodeReader {
  readonly #read: (space: SpaceWanted) => Promise<NodeState>;
  #last: Promise<unknown> = Promise.resolve();
  #next: Promise<NodeState> | undefined;
  #space: SpaceWanted = "known";

  /** @param read - also tells of what it has read, and of its failures */
  constructor(read: (space: SpaceWanted) => Promise<NodeState>) {
    this.#read = read;
  }

  /**
   * Of all who want them while none are read, or while older ones are, the same read, which begins thereafter. Need
   * not be awaited: its failure goes unnoticed then.
   */
  want(space: SpaceWanted): Promise<NodeState> {
    if (space === "read") this.#space = "read";
    this.#next ??= this.#prepare();
    return this.#next;
  }

  /** Resolves when what has been wanted until now is read, or has failed. */
  async idle(): Promise<void> {
    await this.#last;
  }

  #prepare(): Promise<NodeState> {
    const next = this.#last.then(() => {
      const space = this.#space;
      this.#next = undefined;
      this.#space = "known";
      return this.#read(space);
    });
    this.#last = next.catch(() => {});
    return next;
  }
}

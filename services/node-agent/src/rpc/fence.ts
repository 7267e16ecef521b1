/** Which leader's calls this node still takes. */
import { readFile } from "node:fs/promises";
import { ConfigurationError, OpPrereqError, StaleEpoch } from "@gannet/errors";
import { replaceDurably } from "../durable-file.ts";
import { undefinedWhenMissing } from "../errno.ts";

/**
 * The highest epoch this node has seen. It is on disk before anything is done under it, so that neither a crash
 * nor a power loss lets a leader back in that has been replaced.
 */
export class Fence {
  readonly #file: string;
  #highest: number;
  #stored: number;
  #writing: Promise<void> = Promise.resolve();

  private constructor(file: string, epoch: number) {
    this.#file = file;
    this.#highest = epoch;
    this.#stored = epoch;
  }

  /** @throws ConfigurationError when the file holds no epoch: guessing one could let an old leader in */
  static async open(file: string): Promise<Fence> {
    const text = await readFile(file, "utf8").catch(undefinedWhenMissing);
    if (text === undefined) return new Fence(file, 0);
    if (!/^\d{1,15}\n$/.test(text))
      throw new ConfigurationError(
        `${file} holds no epoch; restore it, or write into it a number that no leader of this cluster has exceeded`,
      );
    return new Fence(file, Number(text));
  }

  /** 0 before the first call of a leader. */
  get epoch(): number {
    return this.#highest;
  }

  /**
   * Take note of a leader's epoch. When this resolves, the epoch was not lower than any that came before and is on
   * disk. @throws StaleEpoch
   */
  async admit(epoch: number): Promise<void> {
    if (!Number.isSafeInteger(epoch) || epoch < 1) throw new OpPrereqError(`${epoch} is no epoch`, "wrong_input");
    this.check(epoch);
    this.#highest = epoch;
    while (this.#stored < epoch) {
      this.#writing = this.#writing.catch(() => {}).then(() => this.#store());
      await this.#writing;
    }
  }

  /** Whether an admitted epoch is still the highest, for work that had to wait. @throws StaleEpoch */
  check(epoch: number): void {
    if (epoch < this.#highest)
      throw new StaleEpoch(`Epoch ${epoch} is over: this node serves the leader of epoch ${this.#highest}`);
  }

  async #store(): Promise<void> {
    const epoch = this.#highest;
    if (epoch <= this.#stored) return;
    await replaceDurably(this.#file, `${epoch}\n`);
    this.#stored = epoch;
  }
}

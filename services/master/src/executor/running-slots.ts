/**
 * How many opcodes run at once (the cluster's `max_running_jobs`). Those beyond wait by priority, smaller first, and
 * in the order they came.
 */
export class RunningSlots {
  #limit: number;
  #taken = 0;
  readonly #waiting: { readonly priority: number; readonly admitted: () => void }[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes effect at once; opcodes that run already go on. */
  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admit();
  }

  /** Run `work` in a slot of its own. */
  async run<T>(priority: number, work: () => Promise<T>): Promise<T> {
    await new Promise<void>((admitted) => {
      const behind = this.#waiting.findIndex((other) => other.priority > priority);
      this.#waiting.splice(behind < 0 ? this.#waiting.length : behind, 0, { priority, admitted });
      this.#admit();
    });
    try {
      return await work();
    } finally {
      this.#taken -= 1;
      this.#admit();
    }
  }

  #admit(): void {
    while (this.#taken < this.#limit) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      this.#taken += 1;
      next.admitted();
    }
  }
}

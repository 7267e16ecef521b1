/** How many opcodes run at once (the cluster's `max_running_jobs`); those beyond wait in the order they came. */
export class RunningSlots {
  #limit: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes effect at once; opcodes that run already go on. */
  setLimit(limit: number): void {
    this.#limit = limit;
    this.#admit();
  }

  /** Run `work` in a slot of its own. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await new Promise<void>((admitted) => {
      this.#waiting.push(admitted);
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
      next();
    }
  }
}

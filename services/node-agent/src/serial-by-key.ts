/** Runs the operations on one guest one after another, those on different guests at once. */

export class SerialByKey {
  readonly #last = new Map<string, Promise<void>>();

  async run<Result>(key: string, operation: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const result = before.then(operation);
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#last.set(key, settled);
    try {
      return await result;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }

  /** For an operation that is not one function: resolves when it is its turn. @returns what ends the turn */
  async take(key: string): Promise<() => void> {
    const turn = Promise.withResolvers<void>();
    const over = Promise.withResolvers<void>();
    void this.run(key, () => {
      turn.resolve();
      return over.promise;
    });
    await turn.promise;
    return over.resolve;
  }
}

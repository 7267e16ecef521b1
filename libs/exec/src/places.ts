/** A bound on what runs at once; whoever finds no place waits, in the order of the asking. */
const NEVER = new AbortController().signal;

export class Places {
  readonly #most: number;
  readonly #waiting = new Set<() => void>();
  #taken = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /**
   * Wait for a place. The answer gives it back, once, however often it is called.
   * @throws the signal's reason
   */
  async take(signal: AbortSignal = NEVER): Promise<() => void> {
    if (this.#taken < this.#most) this.#taken += 1;
    else await this.#turn(signal);
    let isTaken = true;
    return () => {
      if (isTaken) this.#passOn();
      isTaken = false;
    };
  }

  /** Resolves when a place is handed over. */
  #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#waiting.delete(next);
        reject(signal.reason);
      };
      const next = () => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      this.#waiting.add(next);
      signal.addEventListener("abort", giveUp, { once: true });
    });
  }

  #passOn(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#taken -= 1;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}

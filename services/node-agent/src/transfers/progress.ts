/** How far a transfer is and how fast it goes, from the sizes seen at different times. Pure. */

const MIB = 1024 * 1024;
/** Speed is that of so many last looks. */
const SAMPLES = 60;

export interface Progress {
  readonly transferredMib: number;
  readonly mibPerSecond: number;
  readonly percent: number | null;
  readonly estimatedSeconds: number | null;
}

export class ProgressMeter {
  readonly #samples: { readonly bytes: number; readonly atMs: number }[] = [];

  note(bytes: number, atMs: number): void {
    this.#samples.push({ bytes, atMs });
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** @param expectedMib - null when unknown */
  progress(expectedMib: number | null): Progress {
    const [first, last] = [this.#samples[0], this.#samples.at(-1)];
    const transferredMib = (last?.bytes ?? 0) / MIB;
    const elapsedSeconds = first === undefined || last === undefined ? 0 : (last.atMs - first.atMs) / 1000;
    const mibPerSecond = elapsedSeconds > 0 ? (transferredMib - (first?.bytes ?? 0) / MIB) / elapsedSeconds : 0;
    const known = expectedMib !== null && expectedMib > 0;
    return {
      transferredMib,
      mibPerSecond,
      percent: known ? Math.min(100, (100 * transferredMib) / expectedMib) : null,
      estimatedSeconds: known && mibPerSecond > 0 ? Math.max(0, expectedMib - transferredMib) / mibPerSecond : null,
    };
  }
}

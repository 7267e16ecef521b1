/** The last bytes of a command's output, in memory that does not grow with what it prints. */

/** A ring that keeps the last `limitBytes` pushed into it. Its storage doubles up to the limit as it fills. */
export class OutputTail {
  readonly #limitBytes: number;
  #ring: Buffer;
  #total = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#ring = Buffer.allocUnsafe(Math.min(limitBytes, 4096));
  }

  get truncated(): boolean {
    return this.#total > this.#limitBytes;
  }

  push(chunk: Uint8Array): void {
    this.#reserve(Math.min(this.#total + chunk.length, this.#limitBytes));
    const kept = chunk.subarray(Math.max(0, chunk.length - this.#ring.length));
    this.#total += chunk.length - kept.length;
    const at = this.#ring.length === 0 ? 0 : this.#total % this.#ring.length;
    const untilEnd = kept.subarray(0, this.#ring.length - at);
    this.#ring.set(untilEnd, at);
    this.#ring.set(kept.subarray(untilEnd.length), 0);
    this.#total += kept.length;
  }

  /** What was kept, as UTF-8; a character cut in two by the limit is left out. */
  text(): string {
    if (this.#total <= this.#ring.length) return this.#ring.toString("utf8", 0, this.#total);
    const at = this.#total % this.#ring.length;
    const ordered = Buffer.concat([this.#ring.subarray(at), this.#ring.subarray(0, at)]);
    let start = 0;
    while (start < Math.min(4, ordered.length) && isContinuation(ordered[start])) start += 1;
    return ordered.toString("utf8", start);
  }

  /** Only a ring that has not wrapped yet is smaller than the limit, so its bytes are in order. */
  #reserve(neededBytes: number): void {
    if (neededBytes <= this.#ring.length) return;
    let capacity = this.#ring.length;
    while (capacity < neededBytes) capacity = Math.min(capacity * 2, this.#limitBytes);
    const larger = Buffer.allocUnsafe(capacity);
    this.#ring.copy(larger, 0, 0, this.#total);
    this.#ring = larger;
  }
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

/**
 * The two sides of `RenewSelfFence`, without clocks or calls: a node that stops its guests by itself when no leader
 * renews its lease, and a leader that knows when it has done so.
 *
 * The node gives a ticket with each reply, and the leader brings it back with the next request. The node's deadline is
 * counted from when it *gave* the ticket that came back, the leader's from when it *received* it, which is later. So the
 * leader's is never before the node's, however long a message was on its way and whatever was lost; only the two clocks'
 * rates have to agree, and both must count the time in which a machine is suspended.
 */

const TICKETS_KEPT = 16;

/** The node's side. Times are milliseconds of the node's own clock, which nothing sets. */
export class SelfFenceHolder {
  /** When each ticket was given; the oldest first. */
  readonly #given = new Map<string, number>();
  #deadlineMs: number | undefined;

  /** @param deadlineMs - as an agent before this one left it */
  constructor(deadlineMs?: number) {
    this.#deadlineMs = deadlineMs;
  }

  /** Undefined while no leader has ever armed it. It only grows until `disarm`. */
  get deadlineMs(): number | undefined {
    return this.#deadlineMs;
  }

  hasExpired(nowMs: number): boolean {
    return this.#deadlineMs !== undefined && nowMs >= this.#deadlineMs;
  }

  /** Note that a ticket is given. Call it before the reply is sent. */
  give(ticket: string, nowMs: number): void {
    this.#given.set(ticket, nowMs);
    const [oldest] = this.#given.keys();
    if (this.#given.size > TICKETS_KEPT && oldest !== undefined) this.#given.delete(oldest);
  }

  /** A ticket has come back; one that is not known changes nothing. */
  renew(ticket: string, timeoutMs: number): void {
    const givenMs = this.#given.get(ticket);
    if (givenMs !== undefined) this.#deadlineMs = Math.max(this.#deadlineMs ?? 0, givenMs + timeoutMs);
  }

  disarm(): void {
    this.#deadlineMs = undefined;
    this.#given.clear();
  }
}

/** How much faster than the leader's clock a node's may be taken to run, and slower: one in a hundred. */
const DRIFT = 0.01;

/** The leader's side, of one node in one term. Times are milliseconds of the leader's own clock. */
export class SelfFenceGrantor {
  #ticket: { readonly text: string; readonly receivedMs: number } | undefined;
  /** No ticket that was received later was ever brought back, by this leader or one before it. */
  #renewedMs: number;

  /**
   * @param nowMs - when the term began: leaders before it have brought back no ticket that they received later
   */
  constructor(nowMs: number) {
    this.#renewedMs = nowMs;
  }

  /** The ticket for the next request. Call it before the request is sent: from here on it may arrive. */
  bringBack(): string {
    if (this.#ticket === undefined) return "";
    this.#renewedMs = Math.max(this.#renewedMs, this.#ticket.receivedMs);
    return this.#ticket.text;
  }

  received(ticket: string, nowMs: number): void {
    this.#ticket = { text: ticket, receivedMs: nowMs };
  }

  /** Whether the node's guests have been stopped for certain, if it was guarded with these times. */
  hasFenced(nowMs: number, { timeoutMs, stopWithinMs }: { timeoutMs: number; stopWithinMs: number }): boolean {
    return nowMs - this.#renewedMs > (timeoutMs + stopWithinMs) * (1 + DRIFT);
  }

  /** Milliseconds until then; 0 when it has. */
  fencesInMs(nowMs: number, { timeoutMs, stopWithinMs }: { timeoutMs: number; stopWithinMs: number }): number {
    return Math.max(0, (timeoutMs + stopWithinMs) * (1 + DRIFT) - (nowMs - this.#renewedMs));
  }
}

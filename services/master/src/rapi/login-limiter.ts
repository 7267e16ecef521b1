/**
 * Who has guessed wrong too often is not checked for a while. By address, and by the name that is guessed at; but a
 * name is closed only to addresses that have guessed at it before, so that nobody can lock a user out from elsewhere.
 */
import { HttpError } from "@gannet/errors";

export interface LoginLimits {
  /** After so many failures within the window the waits begin. */
  readonly failures: number;
  readonly windowMs: number;
  /** The first wait is one second; each further failure doubles it as far as this. */
  readonly longestWaitMs: number;
}

export const DEFAULT_LOGIN_LIMITS: LoginLimits = { failures: 10, windowMs: 300_000, longestWaitMs: 300_000 };

/** Too many wrong guesses: come again later. */
export class TooManyFailures extends HttpError {
  readonly retryAfterS: number;
  /** This wait was told of before: it needs no line of its own in the audit log. */
  readonly isRepeated: boolean;

  constructor(retryAfterS: number, { isRepeated }: { readonly isRepeated: boolean }) {
    super(429, `Too many failed logins; try again in ${retryAfterS} s`);
    this.retryAfterS = retryAfterS;
    this.isRepeated = isRepeated;
  }
}

/** A guess that may be checked; its outcome has to be told. */
export interface Guess {
  failed(): void;
  /** Right, or never checked. */
  ended(): void;
}

/** What is remembered of an address or a name. */
interface Failures {
  count: number;
  /** Guesses that are being checked. */
  pending: number;
  lastMs: number;
  /** Until when no guess is checked. */
  closedUntilMs: number;
  /** Whether who came meanwhile has been told so. */
  told: boolean;
}

interface NameFailures extends Failures {
  /** That have guessed at it, wrongly. */
  readonly addresses: Set<string>;
}

/** What is remembered of a name, which may be no user's. */
const NAME_LENGTH = 128;
const ADDRESSES_LIMIT = 10_000;
const NAMES_LIMIT = 1_000;
const ADDRESSES_OF_NAME_LIMIT = 100;

export class LoginLimiter {
  readonly #limits: LoginLimits;
  readonly #nowMs: () => number;
  readonly #addresses = new Map<string, Failures>();
  readonly #names = new Map<string, NameFailures>();

  constructor(limits: LoginLimits, nowMs: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#nowMs = nowMs;
  }

  /**
   * Before a guess is checked.
   * @param remoteAddress - of the connection
   * @throws TooManyFailures
   */
  begin(remoteAddress: string, givenName: string): Guess {
    const name = givenName.slice(0, NAME_LENGTH);
    const address = network(remoteAddress);
    this.#forgetOld(this.#addresses);
    this.#forgetOld(this.#names);
    const ofAddress = this.#addresses.get(address);
    if (ofAddress !== undefined) this.#requireOpen(ofAddress);
    const ofName = this.#names.get(name);
    if (ofName?.addresses.has(address)) this.#requireOpen(ofName);
    const failures = this.#touch(this.#addresses, address, ADDRESSES_LIMIT, newFailures);
    failures.pending += 1;
    return {
      failed: () => {
        failures.pending -= 1;
        this.#count(failures);
        const named = this.#touch(this.#names, name, NAMES_LIMIT, () => ({ ...newFailures(), addresses: new Set() }));
        this.#count(named);
        if (named.addresses.size < ADDRESSES_OF_NAME_LIMIT) named.addresses.add(address);
      },
      ended: () => {
        failures.pending -= 1;
      },
    };
  }

  /** Near the limit guesses are checked one after another, so that many at once are not more than many in turn. */
  #requireOpen(failures: Failures): void {
    const waitMs = failures.closedUntilMs - this.#nowMs();
    const isCrowded = failures.pending > 0 && failures.count + failures.pending >= this.#limits.failures;
    if (waitMs <= 0 && !isCrowded) return;
    const isRepeated = failures.told;
    failures.told = true;
    throw new TooManyFailures(Math.max(1, Math.ceil(waitMs / 1000)), { isRepeated });
  }

  #count(failures: Failures): void {
    const now = this.#nowMs();
    failures.count += 1;
    failures.lastMs = now;
    failures.told = false;
    const beyond = failures.count - this.#limits.failures;
    if (beyond >= 0) failures.closedUntilMs = now + Math.min(1000 * 2 ** beyond, this.#limits.longestWaitMs);
  }

  /** The entry, as the one used last; those used longest ago go when there are too many. */
  #touch<E extends Failures>(entries: Map<string, E>, key: string, limit: number, make: () => E): E {
    const entry = entries.get(key) ?? make();
    entries.delete(key);
    entries.set(key, entry);
    const [oldest] = entries.keys();
    if (entries.size > limit && oldest !== undefined) entries.delete(oldest);
    return entry;
  }

  /** Entries stand in the order of their last use. */
  #forgetOld(entries: Map<string, Failures>): void {
    const now = this.#nowMs();
    for (const [key, { lastMs, closedUntilMs, pending }] of entries) {
      if (pending > 0 || now < closedUntilMs || now - lastMs < this.#limits.windowMs) return;
      entries.delete(key);
    }
  }
}

function newFailures(): Failures {
  return { count: 0, pending: 0, lastMs: 0, closedUntilMs: 0, told: false };
}

/** An IPv4 address as it is; of IPv6 the first 64 bits, which are one customer's. */
export function network(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!address.includes(":")) return address;
  const [head = "", tail] = (address.split("%")[0] ?? "").toLowerCase().split("::");
  const words = (text: string) => (text === "" ? [] : text.split(":"));
  const start = words(head);
  const missing = tail === undefined ? 0 : 8 - start.length - words(tail).length;
  const all = [...start, ...Array.from({ length: Math.max(0, missing) }, () => "0"), ...words(tail ?? "")];
  return `${all.slice(0, 4).join(":")}::/64`;
}

/** Checks of passwords against slow hashes, few at once, so that guessing cannot take the machine. */
import { Unavailable } from "@gannet/errors";
import { matchesPassword, type PasswordHash } from "@gannet/pki";

/** Each holds one of the four threads that the process has for all such work. */
const AT_ONCE = 2;
/** More than so many that wait are refused: they would wait for seconds. */
const WAITING_LIMIT = 32;

export class PasswordChecks {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** @throws Unavailable when too many wait already */
  async matches(password: string, hash: PasswordHash): Promise<boolean> {
    if (this.#running < AT_ONCE) this.#running += 1;
    else await this.#turn();
    try {
      return await matchesPassword(password, hash);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  /** Whoever ends hands its place on. */
  #turn(): Promise<void> {
    if (this.#waiting.length >= WAITING_LIMIT)
      throw new Unavailable("Too many passwords are being checked at this moment; try again");
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}

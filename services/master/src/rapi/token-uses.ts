/** When API tokens were last used: known to the hour, so that using one costs no write. */
import type { RapiDeps } from "./rapi-deps.ts";

const HOUR_S = 3600;

type Parts = Pick<RapiDeps, "configStore" | "leader" | "clock" | "logger">;

export class TokenUses {
  readonly #parts: Parts;
  /** Being written now. */
  readonly #writing = new Set<string>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** A standby writes nothing: what only standbys were asked with looks unused. */
  used(id: string): void {
    const { configStore, leader, clock, logger } = this.#parts;
    const nowS = clock() / 1000;
    const fence = leader.current();
    if (fence === undefined || this.#writing.has(id) || !this.#isOld(id, nowS)) return;
    this.#writing.add(id);
    const lastUsed = Math.floor(nowS / HOUR_S) * HOUR_S;
    configStore
      .commit((view) => {
        const token = view.tokens.get(id);
        return token === undefined ? [] : [{ kind: "token", put: { ...token, lastUsed } }];
      }, fence)
      .catch((error: unknown) => logger.warn({ err: error, token: id }, "an API token's use could not be noted"))
      .finally(() => this.#writing.delete(id));
  }

  #isOld(id: string, nowS: number): boolean {
    const token = this.#parts.configStore.view.tokens.get(id);
    return token !== undefined && nowS - (token.lastUsed ?? 0) >= HOUR_S;
  }
}

/** What the masters do one after another, whoever leads: each takes the turn when it is free, and gives it back. */
import { defineScript, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";

const returnTurn = defineScript({
  name: "locking/turn-return",
  lua: luaFile(import.meta.dirname, "lua/turn-return.lua"),
  keys: 1,
});

/** The connection stays the caller's to close. */
export class MastersTurn {
  readonly #redis: Redis;
  readonly #key: string;
  readonly #holder: string;

  /** @param name - of what is done in turns */
  constructor(redis: Redis, { name, holder }: { readonly name: string; readonly holder: string }) {
    this.#redis = redis;
    this.#key = redisKey("turn", name);
    this.#holder = holder;
  }

  /**
   * Do something while no other master does it.
   * @param longestMs - a turn that is not given back ends then; the work should end before
   * @returns undefined, and nothing was done, when another one has the turn
   * @throws Unavailable when Redis takes no writes now; what `work` throws
   */
  async take<T>(longestMs: number, work: () => Promise<T>): Promise<{ readonly result: T } | undefined> {
    const answer = await this.#redis.set(this.#key, this.#holder, "PX", longestMs, "NX").catch((error: unknown) => {
      throw redisUnavailable(error);
    });
    if (answer !== "OK") return undefined;
    try {
      return { result: await work() };
    } finally {
      await returnTurn.run(this.#redis, [this.#key], [this.#holder]).catch(() => undefined);
    }
  }
}

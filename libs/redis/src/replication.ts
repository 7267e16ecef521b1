/**
 * Writes that outlive the server which took them. A failover promotes the replica that has most; what too few of them
 * had may be gone with the old primary. So what the truth depends on waits until enough replicas have it on disk.
 */
import type { Redis } from "ioredis";
import { RedisUnreachable, redisUnavailable } from "./unavailable.ts";

/** How many replicas must have what is written before it counts as done, and how long to wait for them. */
export interface ReplicationRule {
  /** May change while connections are open, and counts from then on. 0 where there is one server; else half of the other servers, rounded up, as in `min-replicas-to-write`. */
  readonly replicas: number;
  readonly timeoutMs: number;
}

/** The primary has it and too few replicas do: whether it outlives a failover is not known. */
export class Unconfirmed extends RedisUnreachable {}

const connections = new WeakMap<Redis, Confirmations>();

/** From now on {@link confirmed} of this connection waits by the rule. For the one place that makes connections. */
export function confirmBy(redis: Redis, rule: ReplicationRule): void {
  connections.set(redis, new Confirmations(redis, rule));
}

/**
 * Wait until enough replicas have all that this connection has seen, its own writes and what it read: WAIT goes by
 * the place in the stream of changes where the connection's last command ended, of whatever kind (tried with 7.0).
 * Replicas that write with `appendfsync always` acknowledge what is on their disks. Resolves at once where there is
 * one server. To be called before anything else is awaited after the answer that is to be confirmed.
 * @throws Unconfirmed, or Unavailable when the server that answered cannot be asked any more
 */
export async function confirmed(redis: Redis): Promise<void> {
  await connections.get(redis)?.confirm();
}

/** Of one connection. Those that come while replicas are waited for share the next wait. */
class Confirmations {
  readonly #redis: Redis;
  readonly #rule: ReplicationRule;
  /** How often the connection was lost. After that another server may answer, which knows nothing of what went before. */
  #losses = 0;
  #underWay: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(redis: Redis, rule: ReplicationRule) {
    this.#redis = redis;
    this.#rule = rule;
    redis.on("close", () => {
      this.#losses += 1;
    });
  }

  async confirm(): Promise<void> {
    if (this.#rule.replicas === 0) return;
    const losses = this.#losses;
    this.#next ??= this.#underWay.then(() => {
      this.#next = undefined;
      const wait = this.#wait();
      this.#underWay = wait.catch(() => undefined);
      return wait;
    });
    await this.#next;
    if (losses !== this.#losses) throw new Unconfirmed("Not known whether it was kept: Redis was lost meanwhile");
  }

  async #wait(): Promise<void> {
    const { replicas, timeoutMs } = this.#rule;
    const acknowledged = await this.#redis.wait(replicas, timeoutMs).catch((error: unknown) => {
      throw redisUnavailable(error);
    });
    if (acknowledged < replicas)
      throw new Unconfirmed(
        `Not known whether it will be kept: ${acknowledged} of Redis' replicas have it and ${replicas} must. ` +
          "Look whether it was done, or repeat the request with its Idempotency-Key",
      );
  }
}

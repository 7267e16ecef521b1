/** Leadership over Redis: a lease that ends by itself, and an epoch raised by each who takes it. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import { defineScript, EPOCH_KEY, luaFile, type Redis, redisKey, redisUnavailable } from "@gannet/redis";
import type { LeaderElection, Leadership, PresentLeader } from "./leader-contract.ts";

export interface LeaderElectionOptions {
  /** This candidate's name, for people: the node's name. */
  readonly holder: string;
  /** How long a leader that fell silent keeps others waiting. */
  readonly leaseMs?: number;
  /** Where this candidate is reached when it leads, for the others; asked anew with each renewal. */
  readonly contact?: () => string;
}

const DEFAULT_LEASE_MS = 5_000;
/** A leader renews when this part of the lease has passed: two attempts may fail before the lease is in danger. */
const RENEW_AFTER = 1 / 3;
/** A failed renewal is tried again, and a standby looks again, after this part of the lease. */
const RETRY_AFTER = 1 / 20;
/**
 * Leadership is given up when so much of the lease is left: time for what runs to stop, and more than two clocks
 * drift apart in one lease.
 */
const SAFETY_MARGIN = 1 / 10;

const LEADER_KEY = redisKey("leader");
const SUCCESSOR_KEY = redisKey("leader", "successor");
/** A successor looks again after a part of the lease, and then others may stand. */
const RESERVED_LEASES = 2;
const acquireLease = leaderScript("acquire", 3);
const renewLease = leaderScript("renew", 1);
const resignLease = leaderScript("resign", 2);

/** The connection stays the caller's to close. */
export class RedisLeaderElection implements LeaderElection {
  readonly #redis: Redis;
  readonly #holder: string;
  readonly #leaseMs: number;
  readonly #contact: () => string;

  constructor(redis: Redis, { holder, leaseMs = DEFAULT_LEASE_MS, contact = () => "" }: LeaderElectionOptions) {
    this.#redis = redis;
    this.#holder = holder;
    this.#leaseMs = leaseMs;
    this.#contact = contact;
  }

  /** @throws the signal's reason when it ends the wait; trouble with Redis only prolongs it */
  async campaign(signal: AbortSignal): Promise<Leadership> {
    const token = randomUUID();
    for (;;) {
      signal.throwIfAborted();
      const sentAtMs = performance.now();
      const epoch = await this.#tryAcquire(token);
      if (epoch !== undefined) {
        const leadership = new LeaseHolder(this.#redis, {
          ...{ token, epoch, sentAtMs },
          leaseMs: this.#leaseMs,
          contact: this.#contact,
        });
        if (!signal.aborted && !leadership.lost.aborted) return leadership;
        // Told to end meanwhile, or heard of the lease when it was as good as over.
        await leadership.resign();
      }
      await delay(this.#leaseMs * RETRY_AFTER * (0.5 + Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  async current(): Promise<PresentLeader | undefined> {
    const fields = ["holder", "epoch", "contact"] as const;
    const [holder, epoch, contact] = await this.#redis.hmget(LEADER_KEY, ...fields).catch((error: unknown) => {
      throw redisUnavailable(error);
    });
    return holder == null ? undefined : { holder, epoch: Number(epoch), contact: contact ?? "" };
  }

  async #tryAcquire(token: string): Promise<number | undefined> {
    try {
      const keys = [EPOCH_KEY, LEADER_KEY, SUCCESSOR_KEY];
      const args = [token, this.#holder, this.#leaseMs, this.#contact()];
      const epoch = await acquireLease.run(this.#redis, keys, args);
      return epoch === 0 ? undefined : Number(epoch);
    } catch (error) {
      if (error instanceof Unavailable) return undefined;
      throw error;
    }
  }
}

interface Lease {
  /** Names this candidacy, so that neither another nor an earlier one of the same process is taken for it. */
  readonly token: string;
  readonly epoch: number;
  readonly leaseMs: number;
  /** When it was asked for, by the monotonic clock: it cannot have begun earlier, so it does not end earlier. */
  readonly sentAtMs: number;
  readonly contact: () => string;
}

class LeaseHolder implements Leadership {
  readonly epoch: number;
  readonly lost: AbortSignal;
  readonly #redis: Redis;
  readonly #token: string;
  readonly #leaseMs: number;
  readonly #contact: () => string;
  readonly #end = new AbortController();
  readonly #renewing: Promise<void>;
  #trustedUntilMs = 0;
  #deadline: NodeJS.Timeout | undefined;

  constructor(redis: Redis, { token, epoch, leaseMs, sentAtMs, contact }: Lease) {
    this.epoch = epoch;
    this.lost = this.#end.signal;
    this.#redis = redis;
    this.#token = token;
    this.#leaseMs = leaseMs;
    this.#contact = contact;
    this.#trustFrom(sentAtMs);
    this.#renewing = this.#keepRenewing();
  }

  async resign(successor = ""): Promise<void> {
    this.#lose("it was resigned");
    const args = [this.#token, successor, this.#leaseMs * RESERVED_LEASES];
    const resigned = resignLease.run(this.#redis, [LEADER_KEY, SUCCESSOR_KEY], args).catch((error: unknown) => {
      // Without Redis the lease ends by itself.
      if (!(error instanceof Unavailable)) throw error;
    });
    await Promise.race([Promise.all([resigned, this.#renewing]), delay(this.#leaseMs, undefined, { ref: false })]);
  }

  /** Ends, without throwing, when the leadership does. */
  async #keepRenewing(): Promise<void> {
    let pauseMs = this.#leaseMs * RENEW_AFTER;
    for (;;) {
      await delay(pauseMs, undefined, { signal: this.lost }).catch(() => undefined);
      if (this.lost.aborted) return;
      const sentAtMs = performance.now();
      const outcome = await this.#renew();
      if (outcome === "not ours") this.#lose("the lease ended or another candidate has it");
      if (outcome === "renewed") this.#trustFrom(sentAtMs);
      pauseMs = this.#leaseMs * (outcome === "renewed" ? RENEW_AFTER : RETRY_AFTER);
    }
  }

  async #renew(): Promise<"renewed" | "not ours" | "failed"> {
    try {
      const renewed = await renewLease.run(this.#redis, [LEADER_KEY], [this.#token, this.#leaseMs, this.#contact()]);
      return renewed === 1 ? "renewed" : "not ours";
    } catch {
      // Whatever it was, the deadline decides: it must not depend on this loop.
      return "failed";
    }
  }

  #trustFrom(sentAtMs: number): void {
    if (this.lost.aborted) return;
    this.#trustedUntilMs = sentAtMs + this.#leaseMs * (1 - SAFETY_MARGIN);
    clearTimeout(this.#deadline);
    this.#deadline = setTimeout(() => this.#giveUp(), Math.max(0, this.#trustedUntilMs - performance.now()));
    // An answer may be read late: a process that was stopped finds it when it goes on.
    if (performance.now() >= this.#trustedUntilMs) this.#giveUp();
  }

  #giveUp(): void {
    this.#lose("it could not be renewed in time");
  }

  #lose(reason: string): void {
    clearTimeout(this.#deadline);
    if (!this.lost.aborted) this.#end.abort(new Unavailable(`Leadership of epoch ${this.epoch} is over: ${reason}`));
  }
}

/**
 * A lease counts, with its epoch, once enough replicas have it: else a failover could bring back a Redis that knows
 * nothing of it, and the next leader would get the same epoch. The same for each renewal: a leader in the smaller
 * part of a divided network trusts its lease no longer than its last confirmed renewal lasts, and by then the larger
 * part has not let another lead.
 */
function leaderScript(verb: string, keys: number) {
  return defineScript({
    name: `locking/leader-${verb}`,
    lua: luaFile(import.meta.dirname, `lua/leader-${verb}.lua`),
    keys,
    confirmed: true,
  });
}

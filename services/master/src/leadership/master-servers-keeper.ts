/**
 * The leader keeps the masters' Redis servers and sentinels in step with who is a master. A machine that has joined
 * counts from when its Redis has everything, its Sentinel watches the same primary, and all Sentinels know of it; until
 * then it cannot be promoted and nobody waits for it, so one that never comes up does no harm. One whose node is removed
 * does not count any more. What follows from their number each server is told over the wire, at each change and now and
 * then again; one that a failover has left behind is led back then.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type ConfigStore, type Fence, type LeaderNotes, MASTER_SERVERS_NOTE } from "@gannet/config-store";
import { StaleEpoch, Unavailable } from "@gannet/errors";
import { type MasterServers, replicationOf } from "@gannet/objects";
import {
  atServer,
  confirmed,
  dismissSentinel,
  forgetSentinels,
  knowsRedis,
  leadBack,
  type Redis,
  redisUnavailable,
  replicationStateOf,
  settleRedis,
  settleSentinel,
} from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import type { KnownServers, ServersByMaster } from "./known-servers.ts";
import type { Masters } from "./masters.ts";

export interface MasterServersParts {
  readonly masters: Pick<Masters, "survey">;
  readonly knownServers: KnownServers;
  /** Of the cluster's Redis, wherever the sentinels say that it is. */
  readonly serversRedis: Redis;
  readonly configStore: Pick<ConfigStore, "view">;
  readonly notes: LeaderNotes;
  readonly fence: Fence;
  readonly logger: Logger;
}

const LOOK_MS = 2_000;
/** Servers that are as they should be are looked at again after so long. */
const SETTLED_MS = 30_000;

/** Until `over` is aborted. Never rejects. */
export async function keepMasterServers(parts: MasterServersParts, over: AbortSignal): Promise<void> {
  const { address } = parts.knownServers;
  // Where Redis is found otherwise, somebody else looks after it.
  if (address.kind !== "sentinel") return;
  const keeper = new Keeper(parts, address.name);
  while (!over.aborted) {
    await keeper.look().catch((error: unknown) => {
      if (over.aborted || error instanceof Unavailable || error instanceof StaleEpoch) return;
      parts.logger.error({ err: error }, "the masters' servers could not be looked after; it is tried again");
    });
    await delay(LOOK_MS, undefined, { signal: over }).catch(() => undefined);
  }
}

class Keeper {
  readonly #parts: MasterServersParts;
  readonly #sentinelName: string;
  #nextSettlingMs = 0;
  /** Told once. */
  readonly #warned = new Set<string>();

  constructor(parts: MasterServersParts, sentinelName: string) {
    this.#parts = parts;
    this.#sentinelName = sentinelName;
  }

  async look(): Promise<void> {
    const { knownServers, notes, fence, logger } = this.#parts;
    await knownServers.read(notes);
    const before = knownServers.servers;
    const after = await this.#present(before);
    if (JSON.stringify(after) !== JSON.stringify(before)) {
      await notes.write(MASTER_SERVERS_NOTE, after, fence);
      knownServers.are(after);
      this.#nextSettlingMs = 0;
      logger.info({ masters: Object.keys(after) }, "these are the masters' servers now");
    }
    if (performance.now() < this.#nextSettlingMs || Object.keys(after).length === 0) return;
    if (await this.#settle(after)) this.#nextSettlingMs = performance.now() + SETTLED_MS;
  }

  async #present(before: ServersByMaster): Promise<ServersByMaster> {
    const { masters, configStore } = this.#parts;
    const present = new Map(Object.entries(before));
    for (const [name, servers] of present)
      if (configStore.view.findNode(name) === undefined && (await this.#dismiss(name, servers))) present.delete(name);
    for (const { name, servers, health } of (await masters.survey()).masters) {
      if (servers === undefined || health === "silent" || configStore.view.findNode(name) === undefined) continue;
      const known = present.get(name);
      if (known?.redis === servers.redis && known.sentinel === servers.sentinel) continue;
      if (await this.#counts(name, servers, [...present.values()])) present.set(name, servers);
    }
    return Object.fromEntries([...present].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** Whether a machine's servers are there, have what the others have, and would be led along in a failover. */
  async #counts(name: string, { redis, sentinel }: MasterServers, others: readonly MasterServers[]): Promise<boolean> {
    const { serversRedis, logger } = this.#parts;
    try {
      const { history } = await replicationStateOf(serversRedis);
      const state = await this.#at(redis, replicationStateOf);
      if (state.history !== history || !state.isInStep) return false;
      for (const place of new Set([sentinel, ...others.map((each) => each.sentinel)]))
        if (!(await this.#at(place, (server) => knowsRedis(server, this.#sentinelName, redis)))) return false;
      const { quorum } = replicationOf(others.length + 1);
      await this.#at(sentinel, (server) => settleSentinel(server, this.#sentinelName, quorum));
      return true;
    } catch (error) {
      logger.debug({ err: error, master: name }, "a master's servers are not ready yet");
      return false;
    }
  }

  /** @returns false while its Redis is the primary: what it alone has been told would be lost */
  async #dismiss(name: string, { redis, sentinel }: MasterServers): Promise<boolean> {
    const { logger } = this.#parts;
    const isPrimary = await this.#at(redis, async (server) => {
      const info = await server.info("replication");
      if (/^role:master/m.test(info)) return true;
      await settleRedis(server, { minReplicasToWrite: 0, promotable: false });
      return false;
    }).catch(() => false);
    if (isPrimary) {
      if (!this.#warned.has(name))
        logger.warn(
          { master: name },
          "the node is removed, but its Redis is the primary: stop gannet-redis there, so that another follows",
        );
      this.#warned.add(name);
      return false;
    }
    this.#warned.delete(name);
    // It may be gone with its machine.
    await this.#at(sentinel, (server) => dismissSentinel(server, this.#sentinelName)).catch(() => undefined);
    return true;
  }

  /** @returns whether all are as they should be */
  async #settle(servers: ServersByMaster): Promise<boolean> {
    const { logger, serversRedis } = this.#parts;
    const all = Object.entries(servers);
    const { quorum, replicasToWrite } = replicationOf(all.length);
    // All that was written under the former rule is where the new one wants it before another server may be promoted.
    await serversRedis.ping().catch((error: unknown) => {
      throw redisUnavailable(error);
    });
    await confirmed(serversRedis);
    const settings = { minReplicasToWrite: replicasToWrite, promotable: true };
    const outcomes = await Promise.all(
      all.flatMap(([master, { redis, sentinel }]) => [
        this.#told(master, () => this.#at(redis, (server) => settleRedis(server, settings))),
        this.#told(master, () => this.#leadBack(master, { redis, sentinel })),
        this.#told(master, () => this.#at(sentinel, (server) => settleSentinel(server, this.#sentinelName, quorum))),
      ]),
    );
    if (outcomes.includes("changed")) logger.info({ quorum, replicasToWrite }, "the masters' servers were told");
    const places = new Set(all.map(([, { sentinel }]) => sentinel));
    for (const sentinel of places) {
      const strangers = await this.#at(sentinel, (server) => forgetSentinels(server, this.#sentinelName, places)).catch(
        () => "none" as const,
      );
      // One after another: the others know meanwhile what it has to learn anew.
      if (strangers !== "none") return false;
    }
    return !outcomes.includes("failed");
  }

  async #leadBack(master: string, { redis, sentinel }: MasterServers): Promise<boolean> {
    const place = { name: this.#sentinelName, redis };
    const isLed = await this.#at(redis, (server) => this.#at(sentinel, (itsOwn) => leadBack(server, itsOwn, place)));
    if (isLed) this.#parts.logger.warn({ master, redis }, "a Redis that a failover had left behind was led back");
    return isLed;
  }

  async #told(master: string, tell: () => Promise<boolean>): Promise<"changed" | "same" | "failed"> {
    try {
      return (await tell()) ? "changed" : "same";
    } catch (error) {
      this.#parts.logger.debug({ err: error, master }, "a master's server cannot be told now");
      return "failed";
    }
  }

  #at<T>(place: string, use: (server: Redis) => Promise<T>): Promise<T> {
    return atServer(place, this.#parts.knownServers.address, use);
  }
}

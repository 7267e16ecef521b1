/**
 * The masters' Redis servers and sentinels as this master knows them. The leader keeps the list in its notes
 * (`master-servers-keeper.ts`), each master follows it: its configuration file only has to lead it to the first one.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type LeaderNotes, MASTER_SERVERS_NOTE } from "@gannet/config-store";
import { Unavailable } from "@gannet/errors";
import { type MasterServers, replicationOf } from "@gannet/objects";
import { learnSentinels, parseRedisAddress, type RedisAddress, type ReplicationRule } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";

/** By the master's node. */
export type ServersByMaster = Readonly<Record<string, MasterServers>>;

/** As masters write it: into their configuration files, the roster and the note. */
export const masterServers = z.strictObject({ redis: z.string(), sentinel: z.string() });
const note = z.record(z.string(), masterServers);

/** What a process waits for before a write counts; changed while its connections are open. */
export type LiveReplication = { -readonly [Name in keyof ReplicationRule]: ReplicationRule[Name] };

const LOOK_MS = 2_000;

export class KnownServers {
  /** Of all connections of this process. */
  readonly address: RedisAddress;
  readonly #replication: LiveReplication;
  /** As the configuration file has it. */
  readonly #configured: { readonly redis: string; readonly replicas: number };
  #servers: ServersByMaster = {};
  /** What was asked for before the last change is not news any more. */
  #changes = 0;

  /** @param redis - the address as the configuration file has it */
  constructor(redis: string, address: RedisAddress, replication: ReplicationRule) {
    this.#replication = { ...replication };
    this.#configured = { redis, replicas: replication.replicas };
    this.address = { ...address, replication: this.#replication };
  }

  get servers(): ServersByMaster {
    return this.#servers;
  }

  /** Where a master that joins finds Redis. */
  get redis(): string {
    const sentinels = Object.values(this.#servers).map(({ sentinel }) => sentinel);
    if (this.address.kind !== "sentinel" || sentinels.length === 0) return this.#configured.redis;
    return sentinelUrl(sentinels, this.address.name);
  }

  /** From now on these are all that there are. Without any the configuration file has the word. */
  are(servers: ServersByMaster): void {
    this.#changes += 1;
    this.#servers = servers;
    const all = Object.values(servers);
    this.#replication.replicas =
      all.length === 0 ? this.#configured.replicas : replicationOf(all.length).replicasToWrite;
    if (this.address.kind !== "sentinel" || all.length === 0) return;
    const sentinels = all.map(({ sentinel }) => sentinel);
    const told = parseRedisAddress(sentinelUrl(sentinels, this.address.name));
    if (told.kind === "sentinel") learnSentinels(this.address, told.sentinels);
  }

  /** @throws Unavailable */
  async read(notes: LeaderNotes): Promise<void> {
    const changes = this.#changes;
    const told = note.safeParse(await notes.read(MASTER_SERVERS_NOTE)).data ?? {};
    if (changes === this.#changes) this.are(told);
  }

  /** What the leader writes down, until `stop` is aborted. Never rejects. */
  async follow(notes: LeaderNotes, logger: Logger, stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      await this.read(notes).catch((error: unknown) => {
        if (!(error instanceof Unavailable)) logger.error({ err: error }, "the masters' servers could not be read");
      });
      await delay(LOOK_MS, undefined, { signal: stop }).catch(() => undefined);
    }
  }
}

function sentinelUrl(sentinels: readonly string[], name: string): string {
  return `sentinel://${sentinels.join(",")}/${name}`;
}

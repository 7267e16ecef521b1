/**
 * Listens to the sentinels for a change of the primary, once for all connections of the process: those to the old
 * primary are let go at once, which after a power failure would notice only by its silence.
 */
import type { Redis } from "ioredis";

/** Makes a connection to one sentinel that reconnects by itself. */
export type ConnectSentinel = (place: { readonly host: string; readonly port: number }) => Redis;

export interface WatchedName {
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly name: string;
}

const CHANNEL = "+switch-master";
const watches = new Map<string, FailoverWatch>();

export class FailoverWatch {
  readonly #key: string;
  readonly #connections = new Set<Redis>();
  readonly #sentinels: readonly Redis[];

  private constructor(key: string, { sentinels, name }: WatchedName, connect: ConnectSentinel) {
    this.#key = key;
    this.#sentinels = sentinels.map((place) => {
      const sentinel = connect(place);
      // `<name> <old address> <old port> <new address> <new port>`; each sentinel says so once.
      sentinel.on("message", (_channel: string, text: string) => {
        if (text.startsWith(`${name} `)) this.#letGo();
      });
      // A subscription is made anew with each connection.
      sentinel.subscribe(CHANNEL).catch(() => undefined);
      return sentinel;
    });
  }

  /** The one of the process for these sentinels; it ends with the last connection. */
  static of(watched: WatchedName, connect: ConnectSentinel): FailoverWatch {
    const key = JSON.stringify([watched.sentinels, watched.name]);
    const watch = watches.get(key) ?? new FailoverWatch(key, watched, connect);
    watches.set(key, watch);
    return watch;
  }

  add(connection: Redis): void {
    this.#connections.add(connection);
  }

  remove(connection: Redis): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    if (watches.get(this.#key) === this) watches.delete(this.#key);
    for (const sentinel of this.#sentinels) sentinel.disconnect();
  }

  /** One that connects already asks the sentinels anew. */
  #letGo(): void {
    for (const connection of this.#connections)
      if (connection.status === "ready" || connection.status === "connect") connection.disconnect(true);
  }
}

/**
 * Listens to the sentinels for a change of the primary, once for all connections of the process: those to the old
 * primary are let go at once, which after a power failure would notice only by its silence.
 */
import type { Redis } from "ioredis";

/** Makes a connection to one sentinel that reconnects by itself. */
export type ConnectSentinel = (place: { readonly host: string; readonly port: number }) => Redis;

export interface WatchedName {
  /** Whoever has the same list is told by the same watch. */
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly name: string;
}

const CHANNEL = "+switch-master";
const watches = new Map<WatchedName["sentinels"], FailoverWatch>();

export class FailoverWatch {
  readonly #watched: WatchedName;
  readonly #connect: ConnectSentinel;
  readonly #connections = new Set<Redis>();
  readonly #sentinels: Redis[] = [];

  private constructor(watched: WatchedName, connect: ConnectSentinel) {
    this.#watched = watched;
    this.#connect = connect;
    this.#listenTo(watched.sentinels);
  }

  /** The one of the process for these sentinels; it ends with the last connection. */
  static of(watched: WatchedName, connect: ConnectSentinel): FailoverWatch {
    const watch = watches.get(watched.sentinels) ?? new FailoverWatch(watched, connect);
    watches.set(watched.sentinels, watch);
    return watch;
  }

  /** These are in the list now, too. */
  static learn({ sentinels }: WatchedName, added: WatchedName["sentinels"]): void {
    const watch = watches.get(sentinels);
    if (watch !== undefined) watch.#listenTo(added);
  }

  add(connection: Redis): void {
    this.#connections.add(connection);
  }

  remove(connection: Redis): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    const { sentinels } = this.#watched;
    if (watches.get(sentinels) === this) watches.delete(sentinels);
    for (const sentinel of this.#sentinels) sentinel.disconnect();
  }

  #listenTo(places: WatchedName["sentinels"]): void {
    for (const place of places) {
      const sentinel = this.#connect(place);
      // `<name> <old address> <old port> <new address> <new port>`; each sentinel says so once.
      sentinel.on("message", (_channel: string, text: string) => {
        if (text.startsWith(`${this.#watched.name} `)) this.#letGo();
      });
      // A subscription is made anew with each connection.
      sentinel.subscribe(CHANNEL).catch(() => undefined);
      this.#sentinels.push(sentinel);
    }
  }

  /** One that connects already asks the sentinels anew. */
  #letGo(): void {
    for (const connection of this.#connections)
      if (connection.status === "ready" || connection.status === "connect") connection.disconnect(true);
  }
}

/**
 * What this node tells masters without being asked: a snapshot when one begins to watch, then what changes. Changes
 * that a driver or an operation reports are looked at at once; everything is looked at again every few seconds,
 * because not every driver notices everything.
 */
import { isDeepStrictEqual } from "node:util";
import type { GuestState, HypervisorDriver } from "@gannet/driver-contract";
import { StaleEpoch } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import {
  type LiveStateUpdate,
  type NodeState,
  OBSERVER_EPOCH,
  type OsDefinition,
  type WatchRequest,
} from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { Seen } from "../metrics/agent-metrics.ts";
import type { NodeFacts } from "../node-facts/node-facts.ts";
import { asOfNow } from "./as-of.ts";
import { isGuestNews, isNodeNews } from "./differences.ts";
import { NodeReader, type SpaceWanted } from "./node-reader.ts";
import { Watcher } from "./watcher.ts";

export interface LiveStateParts {
  readonly hypervisors: ReadonlyMap<HypervisorName, HypervisorDriver>;
  readonly facts: NodeFacts;
  readonly diagnoseOs: () => Promise<readonly OsDefinition[]>;
  readonly logger: Logger;
  /** Between looks at everything but the OS definitions. Default 5 seconds. */
  readonly intervalMs?: number;
  /** Between looks at the OS definitions, which change with the administrator's work. Default 1 minute. */
  readonly osIntervalMs?: number;
}

const INTERVAL_MS = 5_000;
const OS_INTERVAL_MS = 60_000;
/**
 * The space of the storage is told with each third look, and not for a guest that was touched: each time costs a
 * command (pvs), which where commands are slow was a quarter of the processor. Who decides by it asks (Describe).
 */
const LOOKS_PER_SPACE = 3;
/** Bounds of what a master may ask for. */
const HEARTBEAT_MS = { min: 50, max: 60_000 };
/** A cluster has some masters, and one that vanished is noticed late; the oldest stream makes room. */
const MAX_OBSERVERS = 16;

/** A guest that something happened to. */
interface Touched {
  readonly driver: HypervisorDriver;
  readonly name: string;
  /**
   * By an operation, whose answer outdates what was told until then: what is seen afterwards is told even where it is
   * no news, since a master may have put aside the news that it was.
   */
  readonly operated: boolean;
}

/** What was seen of a guest; `state` is undefined where there was none. */
interface Sighting {
  readonly name: string;
  readonly state: GuestState | undefined;
  readonly asOfMs: number;
  readonly isAlwaysTold?: boolean;
}

/** A guest as it was told last. */
interface KnownGuest extends GuestState {
  /** When that was last seen to be so. */
  readonly asOfMs: number;
}

export class LiveState {
  readonly #parts: LiveStateParts;
  readonly #guests = new Map<string, KnownGuest>();
  #node: NodeState | undefined;
  readonly #nodeReader = new NodeReader((space) => this.#readNode(space));
  #os: readonly OsDefinition[] = [];
  #osReadAt = 0;
  readonly #watchers = new Set<Watcher>();
  readonly #touched = new Map<string, Touched>();
  /** Looks at guests happen one after another, so that an old look never overwrites a newer one. */
  #looking: Promise<unknown> = Promise.resolve();
  #lookDue = false;
  #looks = 0;
  readonly #closing = new AbortController();
  readonly #unsubscribe: readonly (() => void)[];
  readonly #timer: NodeJS.Timeout;

  constructor(parts: LiveStateParts) {
    this.#parts = parts;
    this.#unsubscribe = [...parts.hypervisors.values()].map((driver) =>
      driver.onChange((name) => this.#touch({ driver, name, operated: false })),
    );
    this.#timer = setInterval(() => this.#lookAtAll(), parts.intervalMs ?? INTERVAL_MS);
  }

  /** As of the last look; nothing is looked at while no master watches. */
  get seen(): Seen {
    return { node: this.#node, guests: [...this.#guests.values()], watchers: this.#watchers.size };
  }

  /** An operation changed this guest. @returns as of when its answer counts */
  touch(hypervisor: HypervisorName, name: string): number {
    const asOfMs = asOfNow();
    const driver = this.#parts.hypervisors.get(hypervisor);
    if (driver !== undefined) this.#touch({ driver, name, operated: true });
    return asOfMs;
  }

  /**
   * One master's stream. A leader's (the caller has admitted its epoch) takes the place of the leader's stream before
   * it, who has come again or been replaced. One without an epoch is a standby's, of which there may be some.
   */
  async *watch(request: WatchRequest, signal: AbortSignal): AsyncGenerator<LiveStateUpdate> {
    const heartbeatMs = Math.min(Math.max(request.heartbeatMs, HEARTBEAT_MS.min), HEARTBEAT_MS.max);
    const watcher = new Watcher({ epoch: request.epoch, heartbeatMs });
    this.#makeRoomFor(watcher);
    this.#watchers.add(watcher);
    const stop = () => watcher.end();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      await this.#begin(watcher);
      yield* watcher.updates();
    } finally {
      signal.removeEventListener("abort", stop);
      this.#watchers.delete(watcher);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    this.#closing.abort();
    for (const watcher of this.#watchers) watcher.end();
    await Promise.all([this.#looking, this.#nodeReader.idle()]);
  }

  #makeRoomFor(next: Watcher): void {
    if (next.epoch === OBSERVER_EPOCH) {
      const observers = [...this.#watchers].filter(({ epoch }) => epoch === OBSERVER_EPOCH);
      if (observers.length >= MAX_OBSERVERS) this.#drop(observers[0]);
      return;
    }
    for (const previous of this.#watchers) {
      if (previous.epoch === OBSERVER_EPOCH) continue;
      if (previous.epoch === next.epoch) this.#drop(previous);
      else this.#drop(previous, new StaleEpoch(`The leader of epoch ${next.epoch} watches this node now`));
    }
  }

  #drop(watcher: Watcher | undefined, reason?: Error): void {
    if (watcher === undefined) return;
    this.#watchers.delete(watcher);
    watcher.end(reason);
  }

  /**
   * Everything is read anew, after the watching began. What cannot be read ends the stream: a snapshot without it
   * would say that its guests are gone. Whoever watched before is told what has changed, and gets no snapshot: it would
   * take the place of newer news that are still to be sent.
   */
  async #begin(watcher: Watcher): Promise<void> {
    const asOfMs = asOfNow();
    await this.#inTurn(async () => {
      const lists = await Promise.all([...this.#parts.hypervisors.values()].map((driver) => driver.list()));
      this.#replaceGuests(lists.flat(), asOfMs);
      await this.#refreshOs();
    });
    const node = await this.#nodeReader.want("read");
    // Guests have been looked at since, in their own turns: each is told as of when it was seen last.
    watcher.snapshot({ node, instances: [...this.#guests.values()], os: [...this.#os], asOfMs });
  }

  #replaceGuests(states: readonly GuestState[], asOfMs: number): void {
    const names = new Set(states.map(({ name }) => name));
    for (const { hypervisor, name } of [...this.#guests.values()])
      if (!names.has(name)) this.#note(hypervisor, { name, state: undefined, asOfMs });
    for (const state of states) this.#note(state.hypervisor, { name: state.name, state, asOfMs });
  }

  /** While nobody watches nothing is looked at; a slow look makes the next one late, not many. */
  #lookAtAll(): void {
    if (this.#watchers.size === 0 || this.#lookDue) return;
    this.#lookDue = true;
    this.#look(async () => {
      this.#lookDue = false;
      await this.#refreshGuests();
      if (Date.now() - this.#osReadAt >= (this.#parts.osIntervalMs ?? OS_INTERVAL_MS)) await this.#refreshOs();
      this.#looks += 1;
      this.#refreshNode(this.#looks % LOOKS_PER_SPACE === 0 ? "read" : "known");
    });
  }

  #touch(touched: Touched): void {
    if (this.#watchers.size === 0) return;
    if (this.#touched.size === 0)
      this.#look(async () => {
        const guests = [...this.#touched.values()];
        this.#touched.clear();
        for (const { driver, name, operated } of guests) {
          const asOfMs = asOfNow();
          const state = await driver.state(name);
          this.#note(driver.name, { name, state, asOfMs, isAlwaysTold: operated });
        }
        this.#refreshNode("known");
      });
    const key = `${touched.driver.name} ${touched.name}`;
    const operated = touched.operated || this.#touched.get(key)?.operated === true;
    this.#touched.set(key, { ...touched, operated });
  }

  /** What fails now is looked at again with everything else. */
  #look(look: () => Promise<void>): void {
    this.#inTurn(look).catch((error: unknown) => this.#logFailure(error));
  }

  #logFailure(error: unknown): void {
    if (!this.#closing.signal.aborted) this.#parts.logger.error({ err: error }, "live state cannot be read");
  }

  async #inTurn(look: () => Promise<void>): Promise<void> {
    const turn = this.#looking.then(() => {
      this.#closing.signal.throwIfAborted();
      return look();
    });
    this.#looking = turn.catch(() => {});
    return turn;
  }

  async #refreshGuests(): Promise<void> {
    for (const driver of this.#parts.hypervisors.values()) {
      const asOfMs = asOfNow();
      const states = await this.#list(driver);
      if (states === undefined) continue;
      const names = new Set(states.map(({ name }) => name));
      for (const state of states) this.#note(driver.name, { name: state.name, state, asOfMs });
      for (const { name, hypervisor } of this.#guests.values())
        if (hypervisor === driver.name && !names.has(name)) this.#note(driver.name, { name, state: undefined, asOfMs });
    }
  }

  /** Undefined when it cannot be asked now: its guests stay as they were last seen. */
  async #list(driver: HypervisorDriver): Promise<readonly GuestState[] | undefined> {
    try {
      return await driver.list();
    } catch (error) {
      this.#parts.logger.warn({ hypervisor: driver.name, error: String(error) }, "guests cannot be listed");
      return undefined;
    }
  }

  #note(hypervisor: HypervisorName, { name, state, asOfMs, isAlwaysTold = false }: Sighting): void {
    const known = this.#guests.get(name);
    if (state === undefined) {
      // The same name under another hypervisor is another guest.
      if (known === undefined ? !isAlwaysTold : known.hypervisor !== hypervisor) return;
      this.#guests.delete(name);
      for (const watcher of this.#watchers) watcher.instanceGone({ name, asOfMs });
    } else {
      const isNews = isAlwaysTold || known === undefined || isGuestNews(known, state);
      const told = { ...(isNews ? state : known), asOfMs };
      this.#guests.set(name, told);
      if (isNews) for (const watcher of this.#watchers) watcher.instance(told);
    }
  }

  /** Begun, and not waited for: guests' news do not depend on how long it takes. */
  #refreshNode(space: SpaceWanted): void {
    void this.#nodeReader.want(space);
  }

  async #readNode(space: SpaceWanted): Promise<NodeState> {
    try {
      this.#closing.signal.throwIfAborted();
      const node = await this.#parts.facts.read([...this.#guests.values()], this.#closing.signal, { space });
      if (isNodeNews(this.#node, node)) this.#tellOfNode(node);
      return node;
    } catch (error) {
      this.#logFailure(error);
      throw error;
    }
  }

  #tellOfNode(node: NodeState): void {
    this.#node = node;
    for (const watcher of this.#watchers) watcher.node(node);
  }

  async #refreshOs(): Promise<void> {
    const known = this.#os;
    this.#os = await this.#parts.diagnoseOs();
    this.#osReadAt = Date.now();
    if (isDeepStrictEqual(known, this.#os)) return;
    for (const watcher of this.#watchers) watcher.os(this.#os);
  }
}

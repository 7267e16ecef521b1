/**
 * What agents have reported, in memory. Each node has one stream; a node whose stream is silent for longer
 * than the bound counts as unreachable, and what it said last is no longer shown.
 */
import type { NodeUuid } from "@gannet/objects";
import type { InstanceState, LiveStateUpdate, LiveStateUpdate_Snapshot, NodeState, OsDefinition } from "@gannet/rpc";
import type { LiveState, NodeLiveState } from "./live-state-contract.ts";

type Listener = Parameters<LiveState["onChange"]>[0];

interface NodeEntry {
  reachable: boolean;
  /** By `performance.now`. */
  heardMs: number;
  node: NodeState | undefined;
  instances: Map<string, InstanceState>;
  /** As of when each guest was told of, those that are gone among them. */
  toldAsOf: Map<string, number>;
  os: readonly OsDefinition[];
}

const UNKNOWN: NodeLiveState = { reachable: false, node: undefined, instances: new Map(), os: [] };

export class MemoryLiveState implements LiveState {
  readonly #nodes = new Map<NodeUuid, NodeEntry>();
  /** Where an instance was seen; more than one node only while something is wrong. */
  readonly #seenOn = new Map<string, Set<NodeUuid>>();
  readonly #listeners = new Set<Listener>();

  node(uuid: NodeUuid): NodeLiveState {
    return this.#nodes.get(uuid) ?? UNKNOWN;
  }

  /** How long ago a node's agent was heard, in milliseconds; undefined when it is not reachable. */
  silenceMs(uuid: NodeUuid): number | undefined {
    const entry = this.#nodes.get(uuid);
    return entry?.reachable === true ? performance.now() - entry.heardMs : undefined;
  }

  instance(name: string, primary: NodeUuid): { readonly node: NodeUuid; readonly state: InstanceState } | undefined {
    const seenOn = this.#seenOn.get(name);
    if (seenOn === undefined) return undefined;
    const node = seenOn.has(primary) ? primary : seenOn.values().next().value;
    if (node === undefined) return undefined;
    const state = this.#nodes.get(node)?.instances.get(name);
    return state === undefined ? undefined : { node, state };
  }

  noteInstance(node: NodeUuid, state: InstanceState): void {
    const entry = this.#entry(node);
    if (isOutdated(entry, state.name, state.asOfMs)) return;
    const before = entry.instances.get(state.name);
    this.#setInstance(node, entry, state);
    if (before === undefined || differsVisibly(before, state)) this.#tell(node, [state.name]);
  }

  noteInstanceGone(node: NodeUuid, name: string, asOfMs = 0): void {
    const entry = this.#nodes.get(node);
    if (entry === undefined || isOutdated(entry, name, asOfMs)) return;
    entry.toldAsOf.set(name, asOfMs);
    forgetLongGone(entry);
    if (!entry.instances.delete(name)) return;
    this.#unsee(node, name);
    this.#tell(node, [name]);
  }

  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Take in one message of a node's stream. */
  apply(node: NodeUuid, { update }: LiveStateUpdate): void {
    const entry = this.#entry(node);
    const returned = !entry.reachable;
    entry.reachable = true;
    entry.heardMs = performance.now();
    switch (update?.$case) {
      case "snapshot":
        this.#replace(node, entry, update.value, { isFirst: returned });
        return;
      case "node":
        entry.node = update.value;
        this.#tell(node, []);
        return;
      case "instance":
        this.noteInstance(node, update.value);
        break;
      case "instanceGone":
        this.noteInstanceGone(node, update.value.name, update.value.asOfMs);
        break;
      case "os":
        entry.os = update.value.os;
        this.#tell(node, []);
        return;
      default:
        break;
    }
    if (returned) this.#tell(node, [...entry.instances.keys()]);
  }

  /** The node's stream ended or fell silent: nothing it said counts any more. */
  lose(node: NodeUuid): void {
    const entry = this.#nodes.get(node);
    if (entry === undefined || !entry.reachable) return;
    const names = [...entry.instances.keys()];
    for (const name of names) this.#unsee(node, name);
    this.#nodes.set(node, unheard());
    this.#tell(node, names);
  }

  /** The node left the cluster. */
  forget(node: NodeUuid): void {
    this.lose(node);
    this.#nodes.delete(node);
  }

  /**
   * What an operation's answer has told since the snapshot was taken stays. Before the first one of a stream nothing
   * is known of the node's boot, by which times are told: all of it is replaced then.
   */
  #replace(
    node: NodeUuid,
    entry: NodeEntry,
    snapshot: LiveStateUpdate_Snapshot,
    { isFirst }: { readonly isFirst: boolean },
  ): void {
    const isOfSameBoot = !isFirst && entry.node?.bootId === snapshot.node?.bootId;
    const seenAt = new Map(snapshot.instances.map(({ name, asOfMs }) => [name, asOfMs]));
    const newer = (name: string) =>
      isOfSameBoot && (entry.toldAsOf.get(name) ?? 0) > (seenAt.get(name) ?? snapshot.asOfMs);
    const kept = [...entry.instances.values()].filter(({ name }) => newer(name));
    const told = snapshot.instances.filter(({ name }) => !newer(name));
    const names = new Set([...entry.instances.keys(), ...told.map(({ name }) => name)]);
    for (const name of entry.instances.keys()) this.#unsee(node, name);
    entry.instances = new Map();
    entry.toldAsOf = new Map([...entry.toldAsOf].filter(([name]) => newer(name)));
    entry.node = snapshot.node;
    entry.os = snapshot.os;
    for (const state of [...kept, ...told]) this.#setInstance(node, entry, state);
    this.#tell(node, [...names]);
  }

  #setInstance(node: NodeUuid, entry: NodeEntry, state: InstanceState): void {
    entry.instances.set(state.name, state);
    entry.toldAsOf.set(state.name, state.asOfMs);
    const seenOn = this.#seenOn.get(state.name);
    if (seenOn === undefined) this.#seenOn.set(state.name, new Set([node]));
    else seenOn.add(node);
  }

  #unsee(node: NodeUuid, name: string): void {
    const seenOn = this.#seenOn.get(name);
    seenOn?.delete(node);
    if (seenOn?.size === 0) this.#seenOn.delete(name);
  }

  #entry(node: NodeUuid): NodeEntry {
    let entry = this.#nodes.get(node);
    if (entry === undefined) {
      entry = unheard();
      this.#nodes.set(node, entry);
    }
    return entry;
  }

  #tell(node: NodeUuid, instances: readonly string[]): void {
    for (const listener of this.#listeners) listener({ node, instances });
  }
}

function unheard(): NodeEntry {
  return { reachable: false, heardMs: 0, node: undefined, instances: new Map(), toldAsOf: new Map(), os: [] };
}

function isOutdated({ toldAsOf }: NodeEntry, name: string, asOfMs: number): boolean {
  return asOfMs !== 0 && asOfMs < (toldAsOf.get(name) ?? 0);
}

/** A stream may last for months, in which any number of guests come and go; nothing is on its way for so long. */
function forgetLongGone({ instances, toldAsOf }: NodeEntry): void {
  if (toldAsOf.size < 2 * instances.size + MAX_GONE) return;
  for (const name of toldAsOf.keys()) if (!instances.has(name)) toldAsOf.delete(name);
}

const MAX_GONE = 1_000;

/** Uptime and processor time change all the time and are in no list. */
function differsVisibly(a: InstanceState, b: InstanceState): boolean {
  return a.status !== b.status || a.memoryMib !== b.memoryMib || a.vcpus !== b.vcpus || a.uuid !== b.uuid;
}

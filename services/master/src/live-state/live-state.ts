/**
 * What agents have reported, in memory. Each node has one stream; a node whose stream is silent for longer
 * than the bound counts as unreachable, and what it said last is no longer shown.
 */
import type { NodeUuid } from "@gannet/objects";
import type { InstanceState, LiveStateUpdate, NodeState, OsDefinition } from "@gannet/rpc";
import type { LiveState, NodeLiveState } from "./live-state-contract.ts";

type Listener = Parameters<LiveState["onChange"]>[0];

interface NodeEntry {
  reachable: boolean;
  /** By `performance.now`. */
  heardMs: number;
  node: NodeState | undefined;
  instances: Map<string, InstanceState>;
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
    const before = entry.instances.get(state.name);
    this.#setInstance(node, entry, state);
    if (before === undefined || differsVisibly(before, state)) this.#tell(node, [state.name]);
  }

  noteInstanceGone(node: NodeUuid, name: string): void {
    const entry = this.#nodes.get(node);
    if (entry?.instances.delete(name) !== true) return;
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
        this.#replace(node, entry, update.value);
        return;
      case "node":
        entry.node = update.value;
        this.#tell(node, []);
        return;
      case "instance":
        this.noteInstance(node, update.value);
        break;
      case "instanceGone":
        this.noteInstanceGone(node, update.value.name);
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
    this.#nodes.set(node, { reachable: false, heardMs: 0, node: undefined, instances: new Map(), os: [] });
    this.#tell(node, names);
  }

  /** The node left the cluster. */
  forget(node: NodeUuid): void {
    this.lose(node);
    this.#nodes.delete(node);
  }

  #replace(
    node: NodeUuid,
    entry: NodeEntry,
    snapshot: { node: NodeState | undefined; instances: InstanceState[]; os: OsDefinition[] },
  ): void {
    const names = new Set([...entry.instances.keys(), ...snapshot.instances.map((state) => state.name)]);
    for (const name of entry.instances.keys()) this.#unsee(node, name);
    entry.instances = new Map();
    entry.node = snapshot.node;
    entry.os = snapshot.os;
    for (const state of snapshot.instances) this.#setInstance(node, entry, state);
    this.#tell(node, [...names]);
  }

  #setInstance(node: NodeUuid, entry: NodeEntry, state: InstanceState): void {
    entry.instances.set(state.name, state);
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
      entry = { reachable: false, heardMs: 0, node: undefined, instances: new Map(), os: [] };
      this.#nodes.set(node, entry);
    }
    return entry;
  }

  #tell(node: NodeUuid, instances: readonly string[]): void {
    for (const listener of this.#listeners) listener({ node, instances });
  }
}

/** Uptime and processor time change all the time and are in no list. */
function differsVisibly(a: InstanceState, b: InstanceState): boolean {
  return a.status !== b.status || a.memoryMib !== b.memoryMib || a.vcpus !== b.vcpus || a.uuid !== b.uuid;
}

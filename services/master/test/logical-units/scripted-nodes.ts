/**
 * Nodes without agents: what the master calls, answered from memory as the drivers of the agents answer it. Volumes
 * have owners and contents, DRBD ends find each other by their links, and anything can be told to fail.
 */
import { OpPrereqError } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import { ScriptedNode } from "./scripted-node.ts";
import type { Call, DrbdEnd, Failure, Fault, ScriptedWorld } from "./scripted-world.ts";

export type { Call, Failure, Fault, Volume } from "./scripted-world.ts";

export class ScriptedNodes implements ScriptedWorld {
  readonly calls: Call[] = [];
  failures: Failure[] = [];
  fault: Fault | undefined;
  /** Looks at a mirror's state that a resync takes. */
  syncLooks = 3;
  /** What the test does while a node is asked. */
  onCall: ((call: Call) => Promise<void>) | undefined;
  readonly #nodes = new Map<NodeUuid, ScriptedNode>();
  /** Addresses that no node reaches. */
  readonly silent = new Set<string>();
  /** Looks left until the ends of a pair are the same, by port. */
  readonly syncs = new Map<number, number>();

  add(uuid: NodeUuid, name: string, address: string): void {
    this.#nodes.set(uuid, new ScriptedNode(this, name, address));
  }

  node(uuid: NodeUuid): ScriptedNode {
    const node = this.#nodes.get(uuid);
    if (node === undefined) throw new OpPrereqError(`No node has the UUID ${uuid}`, "unknown_entity");
    return node;
  }

  all(): readonly ScriptedNode[] {
    return [...this.#nodes.values()];
  }

  named(name: string): ScriptedNode {
    const node = [...this.#nodes.values()].find((each) => each.name === name);
    if (node === undefined) throw new Error(`no scripted node ${name}`);
    return node;
  }

  readonly #transfers: {
    readonly name: string;
    readonly write: (contents: string) => void;
    readonly done: PromiseWithResolvers<void>;
  }[] = [];

  openTransfer(name: string, write: (contents: string) => void): string {
    this.#transfers.push({ name, write, done: Promise.withResolvers() });
    return name;
  }

  endTransfer(name: string): void {
    this.#transfers.findLast((each) => each.name === name)?.done.resolve();
  }

  /** @param port - the number that the receiver told, from 1 on */
  sendTransfer(port: number, contents: string): string {
    const transfer = this.#transfers[port - 1];
    if (transfer === undefined) throw new Error(`nobody listens on port ${port}`);
    transfer.write(contents);
    transfer.done.resolve();
    return transfer.name;
  }

  async *followTransfer(name: string) {
    const place = this.#transfers.findLastIndex((each) => each.name === name);
    const state = {
      name,
      listenPort: place + 1,
      connected: true,
      transferredMib: 0,
      mibPerSecond: 0,
      recentOutput: [],
    };
    yield { transfers: [{ ...state, over: false, problem: "" }] };
    await this.#transfers[place]?.done.promise;
    const failure = this.failures.find(({ method }) => method === "transfers.follow");
    yield { transfers: [{ ...state, over: true, problem: failure === undefined ? "" : "it was told to fail" }] };
  }

  client(uuid: NodeUuid): NodeClient {
    return this.node(uuid).client;
  }

  peerOf({ link, connected }: DrbdEnd): DrbdEnd | undefined {
    const node = [...this.#nodes.values()].find(({ address }) => address === link.peerAddress);
    const peer = node?.ends.get(link.peerMinor);
    const isPaired =
      peer !== undefined &&
      connected &&
      peer.connected &&
      peer.link.port === link.port &&
      peer.link.secret === link.secret &&
      peer.link.peerAddress === link.localAddress &&
      peer.link.peerMinor === link.localMinor;
    return isPaired ? peer : undefined;
  }

  /** The ends have met: that which is not whole is filled from the other. */
  startSync(end: DrbdEnd): void {
    const peer = this.peerOf(end);
    if (peer === undefined || end.upToDate === peer.upToDate) return;
    this.syncs.set(end.link.port, this.syncLooks);
    if (this.syncLooks === 0) this.finishSync(end, peer);
  }

  finishSync(end: DrbdEnd, peer: DrbdEnd): void {
    const [from, to] = end.upToDate ? [end, peer] : [peer, end];
    if (from.data === undefined || to.data === undefined) return;
    to.data.contents = from.data.contents;
    this.noteWhole(to);
  }

  /** The end's data are whole, which is kept with its metadata. */
  noteWhole(end: DrbdEnd): void {
    end.upToDate = true;
    if (end.metadata !== undefined) end.metadata.contents = "uptodate";
  }

  /** `node1 create plain` in order, those of `interesting` only. */
  story(...interesting: readonly string[]): readonly string[] {
    return this.calls
      .filter(({ method }) => interesting.length === 0 || interesting.includes(method))
      .map(({ node, method, template, index }) => `${node} ${method} ${template}/${index}`);
  }

  /** Everything on all nodes that an instance could have left. */
  leftovers(): readonly string[] {
    return [...this.#nodes.values()].flatMap((node) => [
      ...[...node.volumes].filter(([, volume]) => volume.owner !== undefined).map(([id]) => `${node.name}: ${id}`),
      ...[...node.ends.keys()].map((minor) => `${node.name}: minor ${minor} is up`),
      ...[...node.guests].map((name) => `${node.name}: guest ${name}`),
      ...[...node.nonvolatile.keys()].map((uuid) => `${node.name}: variables of ${uuid}`),
    ]);
  }
}

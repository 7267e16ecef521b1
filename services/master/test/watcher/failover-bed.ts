/** Nodes that fall silent, and a watcher that may start their instances elsewhere; the test moves all clocks. */
import { NodeUnreachable } from "@gannet/errors";
import type { NodeUuid } from "@gannet/objects";
import type { NodeClient, RenewSelfFenceRequest } from "@gannet/rpc";
import { SelfFenceHolder } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { NodeFailover } from "../../src/watcher/failover/node-failover.ts";
import { SelfFenceKeeper } from "../../src/watcher/failover/self-fence-keeper.ts";
import { Watcher } from "../../src/watcher/watcher.ts";
import { NODES } from "../logical-units/logical-unit-bed.ts";
import { snapshot } from "../rapi/cluster-fixture.ts";
import { WatcherBed } from "./watcher-bed.ts";

export const AFTER_S = 60;
const LEASE_S = 60;
const STOP_WITHIN_S = 15;
/** From when a leader is sure that a guarded node has stopped its guests: both, and a hundredth for their clocks. */
export const FENCED_S = (LEASE_S + STOP_WITHIN_S) * 1.01;

/** Of those that a failover makes of the node that it leaves. */
const CALLS = ["instances.stop", "blockDevices.shutdown", "blockDevices.status", "node.runHooks", "node.describe"];

/** The agent's side of a node's self-fence. */
class Guarded {
  readonly holder = new SelfFenceHolder();
  reachable = true;
  /** Whether the process beside its agent runs. */
  watched = true;
  #tickets = 0;

  renew({ timeoutMs, ticket }: RenewSelfFenceRequest, nowMs: number) {
    if (!this.reachable) throw new Error("no route to host");
    if (timeoutMs === 0) this.holder.disarm();
    else this.holder.renew(ticket, timeoutMs);
    this.#tickets += 1;
    const next = `ticket ${this.#tickets}`;
    this.holder.give(next, nowMs);
    const guarded = this.watched && this.holder.deadlineMs !== undefined && !this.holder.hasExpired(nowMs);
    return { ticket: next, guarded, stopWithinMs: STOP_WITHIN_S * 1000 };
  }
}

export class FailoverBed implements AsyncDisposable {
  readonly bed: WatcherBed;
  readonly agents = new Map<NodeUuid, Guarded>();
  readonly #term = new AbortController();
  #keeper: SelfFenceKeeper;
  #watcher: Watcher;
  /** Of leaders and nodes alike; moved together with the bed's wall clock, which may jump besides. */
  monotonicMs = 0;

  private constructor(bed: WatcherBed) {
    this.bed = bed;
    for (const name of NODES) this.agents.set(bed.units.uuidOf(name), new Guarded());
    [this.#keeper, this.#watcher] = this.#newTerm();
  }

  static async start(): Promise<FailoverBed> {
    return new FailoverBed(await WatcherBed.start());
  }

  #newTerm(lease = LEASE_S): [SelfFenceKeeper, Watcher] {
    const { ledger, locks, configStore, live } = this.bed.units;
    const fence = { epoch: 1 };
    const logger = silentLogger();
    const monotonic = () => this.monotonicMs;
    const clock = () => this.bed.nowMs;
    const node = (uuid: NodeUuid) => this.#client(uuid);
    const { notes } = this.bed;
    const keeper = new SelfFenceKeeper({
      ...{ configStore, node, notes, fence, logger, clock: monotonic },
      timeoutMs: lease * 1000,
    });
    const settings = { enabled: true, afterMs: AFTER_S * 1000, selfFenceMs: lease * 1000 };
    const failover = new NodeFailover({
      ...{ settings, configStore, live, ledger, fence, logger, clock, monotonic, selfFences: keeper },
    });
    const watcher = new Watcher({
      settings: { enabled: true, intervalMs: 30_000, verifyDisksMs: 1e12, hooksMs: 1e12 },
      hooks: { look: (memory) => ({ memory, waits: [] }) },
      offlineNodes: { look: (memory) => ({ memory, waits: [], proposals: [] }) },
      ...{ ledger, locks, configStore, live, notes, fence, logger, clock, failover },
    });
    return [keeper, watcher];
  }

  #client(uuid: NodeUuid): Pick<NodeClient, "node"> {
    const renewSelfFence = async (request: RenewSelfFenceRequest) => this.agent(uuid).renew(request, this.monotonicMs);
    return { node: { renewSelfFence } } as unknown as Pick<NodeClient, "node">;
  }

  agent(uuid: NodeUuid): Guarded {
    const agent = this.agents.get(uuid);
    if (agent === undefined) throw new Error(`no agent ${uuid}`);
    return agent;
  }

  /** Another leader follows; its automatic failover may be off. */
  nextLeader(lease = LEASE_S): void {
    [this.#keeper, this.#watcher] = this.#newTerm(lease);
  }

  /** Self-fences are renewed, and what was answered is taken in. */
  async renew(): Promise<void> {
    const { answered } = await this.#keeper.round(this.#term.signal);
    await answered;
  }

  pass(seconds: number): void {
    this.monotonicMs += seconds * 1000;
    this.bed.pass(seconds);
  }

  /** @returns summaries of the jobs that it submitted, when they are over */
  async look(): Promise<readonly string[]> {
    const { ledger } = this.bed.units;
    const before = await ledger.lastId();
    await this.#watcher.look();
    const after = await ledger.lastId();
    const jobs = [];
    for (let id = before + 1; id <= after; id += 1) jobs.push(await this.bed.units.ended(id));
    return jobs.map(({ summary, status, opcodes }) =>
      status === "success" ? summary.join(" ") : `${summary.join(" ")}: ${JSON.stringify(opcodes.at(-1)?.result)}`,
    );
  }

  fallSilent(name: string): void {
    const uuid = this.bed.units.uuidOf(name);
    this.bed.units.live.lose(uuid);
    this.agent(uuid).reachable = false;
    // Its ends of mirrors are gone with it.
    this.bed.units.nodes.named(name).ends.clear();
    this.bed.units.nodes.failures = CALLS.map((method) => ({
      ...{ node: name, method, error: new NodeUnreachable(name, "no answer") },
    }));
  }

  answer(name: string): void {
    const uuid = this.bed.units.uuidOf(name);
    this.agent(uuid).reachable = true;
    this.bed.units.nodes.failures = [];
    this.bed.units.live.apply(uuid, snapshot(name));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.bed[Symbol.asyncDispose]();
  }
}

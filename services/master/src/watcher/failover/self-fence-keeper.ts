/**
 * Renews the nodes' self-fences (`RenewSelfFence`), and knows which of them guard themselves and when a silent one has
 * stopped its guests. Where automatic failover is off it ends them. One lives for one term of leadership.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore, Fence, LeaderNotes } from "@gannet/config-store";
import type { NodeUuid } from "@gannet/objects";
import { type NodeClient, SelfFenceGrantor } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { z } from "zod";

export interface SelfFenceKeeperOptions {
  readonly configStore: Pick<ConfigStore, "view">;
  readonly node: (uuid: NodeUuid) => Pick<NodeClient, "node">;
  readonly notes: LeaderNotes;
  readonly fence: Fence;
  /** After which a node that no leader reaches stops its guests; 0: nodes are not to guard themselves. */
  readonly timeoutMs: number;
  readonly logger: Logger;
  /** Milliseconds of a clock that nothing sets. */
  readonly clock?: () => number;
}

const NOTE = "self-fences";
/** Of the lease: some renewals may be lost. */
const RENEW_AFTER = 1 / 5;
const LONGEST_PAUSE_MS = 10_000;
/** An answer that took longer, or was read later, renews nothing: this process may have stood still. */
const CALL_LIMIT_MS = 5_000;

const guard = z.object({ timeoutMs: z.number().positive(), stopWithinMs: z.number().nonnegative() });
type Guard = z.infer<typeof guard>;
const guards = z.record(z.string(), guard);

/** Nodes that guard themselves, as far as the leader has noted. @throws Unavailable */
export async function guardedNodes(notes: Pick<LeaderNotes, "read">): Promise<readonly string[]> {
  const found = guards.safeParse((await notes.read(NOTE)) ?? {});
  return found.success ? Object.keys(found.data) : [];
}

interface Lease {
  readonly grantor: SelfFenceGrantor;
  calling: boolean;
  /** Its guard was ended, which is asked for once. */
  ended: boolean;
}

export class SelfFenceKeeper {
  readonly #options: SelfFenceKeeperOptions;
  readonly #beganMs: number;
  readonly #leases = new Map<NodeUuid, Lease>();
  /** Nodes that have said that they guard themselves, with the longest times that they were ever given. */
  readonly #guards = new Map<string, Guard>();
  /** Nodes whose fence is somebody's proof: until they are marked offline, or that is given up, they stay fenced. */
  readonly #withheld = new Set<NodeUuid>();
  #read = false;
  #writtenText = "{}";

  constructor(options: SelfFenceKeeperOptions) {
    this.#options = options;
    this.#beganMs = this.#nowMs();
  }

  /** Milliseconds until a node that does not answer has stopped its guests for certain; undefined: it does not guard itself. */
  fencesInMs(uuid: NodeUuid): number | undefined {
    const known = this.#guards.get(uuid);
    if (known === undefined) return undefined;
    return this.#lease(uuid).grantor.fencesInMs(this.#nowMs(), known);
  }

  /**
   * Renew a node no more, so that it starts nothing even if it answers again, when it has stopped its guests for certain.
   * @returns whether it has
   */
  withhold(uuid: NodeUuid): boolean {
    const isFenced = this.fencesInMs(uuid) === 0;
    if (isFenced) this.#withheld.add(uuid);
    return isFenced;
  }

  /** Renew all nodes again but these. */
  withholdOnly(uuids: ReadonlySet<string>): void {
    for (const uuid of this.#withheld) if (!uuids.has(uuid)) this.#withheld.delete(uuid);
  }

  /** Renew until the term is over. Never throws. */
  async run(over: AbortSignal): Promise<void> {
    const { timeoutMs, logger } = this.#options;
    const pauseMs = timeoutMs === 0 ? LONGEST_PAUSE_MS : Math.min(timeoutMs * RENEW_AFTER, LONGEST_PAUSE_MS);
    while (!over.aborted) {
      try {
        await this.round(over);
      } catch (error) {
        if (!over.aborted) logger.warn({ err: error }, "self-fences could not be renewed or noted; trying again");
      }
      await delay(pauseMs, undefined, { signal: over }).catch(() => undefined);
    }
  }

  /**
   * Ask every node that is not asked just now.
   * @returns when they are asked; `answered` fulfils when each has answered, or failed to, and that is taken in
   * @throws what keeps it from reading and writing
   */
  async round(over: AbortSignal): Promise<{ readonly answered: Promise<unknown> }> {
    const { view } = this.#options.configStore;
    await this.#recall();
    for (const uuid of this.#guards.keys()) if (!view.nodes.has(uuid as NodeUuid)) this.#guards.delete(uuid);
    await this.#write();
    const asked = [...view.nodes.values()].filter(({ offline, vmCapable }) => !offline && vmCapable && !over.aborted);
    return { answered: Promise.all(asked.map(({ uuid }) => this.#ask(uuid, over))) };
  }

  async #ask(uuid: NodeUuid, over: AbortSignal): Promise<void> {
    const lease = this.#lease(uuid);
    if (lease.calling || (this.#options.timeoutMs === 0 && lease.ended)) return;
    lease.calling = true;
    try {
      await (this.#options.timeoutMs === 0 ? this.#end(uuid, lease, over) : this.#renew(uuid, lease, over));
    } catch (error) {
      if (!over.aborted) this.#options.logger.debug({ node: uuid, err: error }, "a self-fence was not renewed");
    } finally {
      lease.calling = false;
    }
  }

  async #renew(uuid: NodeUuid, lease: Lease, over: AbortSignal): Promise<void> {
    const { node, fence } = this.#options;
    const { grantor } = lease;
    const known = this.#guards.get(uuid);
    const timeoutMs = Math.max(this.#options.timeoutMs, known?.timeoutMs ?? 0);
    // A longer lease counts before it is given.
    if (known !== undefined && timeoutMs > known.timeoutMs) await this.#note(uuid, { ...known, timeoutMs });
    if (this.#withheld.has(uuid)) return;
    const sentMs = this.#nowMs();
    const request = { ...fence, timeoutMs, ticket: grantor.bringBack() };
    const reply = await node(uuid).node.renewSelfFence(request, { signal: over });
    // A process that stood still reads answers before it learns that its office is over: that comes by a timer.
    await delay(1);
    if (over.aborted || this.#nowMs() - sentMs > CALL_LIMIT_MS) return;
    grantor.received(reply.ticket, this.#nowMs());
    const { stopWithinMs } = reply;
    const now = reply.guarded
      ? { timeoutMs, stopWithinMs: Math.max(stopWithinMs, known?.stopWithinMs ?? 0) }
      : undefined;
    await this.#note(uuid, now);
    // The first ticket is brought back at once: until then nothing is guarded.
    if (request.ticket === "") await this.#renew(uuid, lease, over);
  }

  async #end(uuid: NodeUuid, lease: Lease, over: AbortSignal): Promise<void> {
    const { node, fence } = this.#options;
    await node(uuid).node.renewSelfFence({ ...fence, timeoutMs: 0, ticket: "" }, { signal: over });
    lease.ended = true;
    await this.#note(uuid, undefined);
  }

  /** Before this is written no later leader counts on it, and after it was taken back none does. */
  async #note(uuid: string, now: Guard | undefined): Promise<void> {
    if (now === undefined) this.#guards.delete(uuid);
    else this.#guards.set(uuid, now);
    await this.#write();
  }

  async #recall(): Promise<void> {
    if (this.#read) return;
    const found = guards.safeParse((await this.#options.notes.read(NOTE)) ?? {});
    this.#read = true;
    if (!found.success) return;
    for (const [uuid, known] of Object.entries(found.data)) this.#guards.set(uuid, known);
    this.#writtenText = JSON.stringify(found.data);
  }

  /** What could not be written is written by the next round. */
  async #write(): Promise<void> {
    const { notes, fence } = this.#options;
    const all = Object.fromEntries(this.#guards);
    const text = JSON.stringify(all);
    if (text === this.#writtenText) return;
    await notes.write(NOTE, all, fence);
    this.#writtenText = text;
  }

  #lease(uuid: NodeUuid): Lease {
    let lease = this.#leases.get(uuid);
    if (lease === undefined) {
      lease = { grantor: new SelfFenceGrantor(this.#beganMs), calling: false, ended: false };
      this.#leases.set(uuid, lease);
    }
    return lease;
  }

  #nowMs(): number {
    return (this.#options.clock ?? performance.now.bind(performance))();
  }
}

/**
 * A node that is cut off stops its guests by itself, so that the leader may start them elsewhere: the lease of
 * `RenewSelfFence`, kept by the agent and, should the agent be dead or stand still, by a process beside it
 * (`fence-process.ts`). Nothing is guarded before a leader has asked for it.
 */
import { randomUUID } from "node:crypto";
import { OpPrereqError } from "@gannet/errors";
import { bootId } from "@gannet/exec";
import type { RenewSelfFenceReply, RenewSelfFenceRequest } from "@gannet/rpc";
import { SelfFenceHolder } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { AGENT_VERSION } from "../agent-version.ts";
import { bootClockMs, type FenceFile } from "./fence-file.ts";
import { type GuestDrivers, stopAllGuests } from "./stop-all-guests.ts";

export interface SelfFenceParts {
  readonly file: FenceFile;
  readonly drivers: GuestDrivers;
  /** Whether the process beside the agent runs; it is started where it does not. */
  readonly watchman: () => Promise<boolean>;
  /** How long after the deadline it may take until no guest runs. */
  readonly stopWithinMs: number;
  readonly logger: Logger;
  /** Milliseconds of a clock that nothing sets. */
  readonly clock?: (() => number) | undefined;
}

const LOOK_MS = 250;
/** While the deadline has passed: what was started against all rules is found. */
const LOOK_AGAIN_MS = 2_000;

export class SelfFence {
  readonly #parts: SelfFenceParts;
  readonly #bootId: string;
  readonly #holder: SelfFenceHolder;
  readonly #closing = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #fencedMs: number | null;
  #stopping: Promise<void> | undefined;
  #storing: Promise<void> = Promise.resolve();
  #lookAgainAtMs = 0;

  private constructor(
    parts: SelfFenceParts,
    known: { readonly bootId: string; readonly deadlineMs: number | undefined; readonly fencedMs: number | null },
  ) {
    this.#parts = parts;
    this.#bootId = known.bootId;
    this.#holder = new SelfFenceHolder(known.deadlineMs);
    this.#fencedMs = known.fencedMs;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /**
   * Take up what the agent before this one left. After a boot the time is over: nothing is started before a leader has
   * renewed the lease.
   */
  static async open(parts: SelfFenceParts): Promise<SelfFence> {
    const known = await parts.file.read();
    const deadlineMs = known === undefined || known.bootId === bootId() ? known?.deadlineMs : 0;
    return new SelfFence(parts, { bootId: bootId(), deadlineMs, fencedMs: known?.fencedMs ?? null });
  }

  /** A leader whose epoch was admitted renews the lease, or ends it. */
  async renew({ timeoutMs, ticket }: Omit<RenewSelfFenceRequest, "epoch">): Promise<RenewSelfFenceReply> {
    const { stopWithinMs } = this.#parts;
    if (timeoutMs === 0) {
      this.#holder.disarm();
      await this.#store();
      return { ticket: "", guarded: false, stopWithinMs };
    }
    this.#holder.renew(ticket, timeoutMs);
    await this.#store();
    const isArmed = this.#holder.deadlineMs !== undefined;
    const guarded = isArmed && (await this.#parts.watchman()) && !this.#holder.hasExpired(this.#nowMs());
    const next = randomUUID();
    this.#holder.give(next, this.#nowMs());
    return { ticket: next, guarded, stopWithinMs };
  }

  /** @throws OpPrereqError (wrong_state) when this node's guests may run elsewhere by now */
  refuseWhenExpired(): void {
    if (!this.#holder.hasExpired(this.#nowMs())) return;
    throw new OpPrereqError(
      "No leader has renewed this node's lease in time: it has stopped its guests, which may run elsewhere by now, " +
        "and starts none before its lease is renewed",
      "wrong_state",
    );
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.#stopping;
  }

  #look(): void {
    const nowMs = this.#nowMs();
    if (!this.#holder.hasExpired(nowMs) || this.#stopping !== undefined) return;
    if (this.#fencedMs === this.#holder.deadlineMs && nowMs < this.#lookAgainAtMs) return;
    this.#stopping = this.#stopGuests().finally(() => {
      this.#stopping = undefined;
    });
  }

  /** What fails is tried again by the next look. */
  async #stopGuests(): Promise<void> {
    const { drivers, logger } = this.#parts;
    const deadlineMs = this.#holder.deadlineMs ?? null;
    const isEmpty = await stopAllGuests(drivers, { logger, signal: this.#closing.signal });
    if (!isEmpty || !this.#holder.hasExpired(this.#nowMs())) return;
    this.#lookAgainAtMs = this.#nowMs() + LOOK_AGAIN_MS;
    if (this.#fencedMs === deadlineMs) return;
    this.#fencedMs = deadlineMs;
    await this.#store().catch((error: unknown) => logger.error({ err: error }, "the self-fence could not be noted"));
    logger.warn("no leader has renewed this node's lease: none of its guests runs any more");
  }

  /** Write down how it is, one time after the other: the file has what was last. @throws what keeps it from that */
  async #store(): Promise<void> {
    const turn = this.#storing.then(async () => {
      const { deadlineMs } = this.#holder;
      const { file } = this.#parts;
      if (deadlineMs === undefined) return await file.remove();
      const agent = { agentPid: process.pid, agentVersion: AGENT_VERSION };
      await file.write({ bootId: this.#bootId, deadlineMs, fencedMs: this.#fencedMs, ...agent });
    });
    this.#storing = turn.catch(() => undefined);
    await turn;
  }

  #nowMs(): number {
    return (this.#parts.clock ?? bootClockMs)();
  }
}

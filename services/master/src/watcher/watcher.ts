/**
 * Looks after what is not as it should be, as Ganeti's watcher does (spec/os-iallocator-hooks.json, `watcher`): starts
 * instances that should run, notes shutdowns from inside, activates disks of nodes that have rebooted and disks that
 * were found inactive, ends what nodes have that are marked offline. It changes nothing itself: it submits jobs, of the lowest priority, one for each thing and never
 * beside another job for it. One lives for one term of leadership.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore, Fence, LeaderNotes } from "@gannet/config-store";
import { JobQueueDrainError, JobQueueFull } from "@gannet/errors";
import type { JobId, JobLedger } from "@gannet/job-ledger";
import type { LockManager } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";
import type { GroupVerifyDisks, OpResult } from "@gannet/opcodes";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { FailoverLook, NodeFailover } from "./failover/node-failover.ts";
import { type Proposal, planLook } from "./look-plan.ts";
import type { OfflineNodes } from "./offline-nodes.ts";
import { watcherPausedUntil } from "./pause.ts";
import { PendingJobs } from "./pending-work.ts";
import type { WatcherHooks } from "./watcher-hooks.ts";
import { watcherJob } from "./watcher-jobs.ts";
import { recall, WATCHER_NOTE, type Wait, type WatcherMemory, withDeeds } from "./watcher-memory.ts";

export interface WatcherSettings {
  readonly enabled: boolean;
  /** Between two looks. */
  readonly intervalMs: number;
  /** Between two verifications of all disks. */
  readonly verifyDisksMs: number;
  /** Between two rounds of the site's hooks of the watcher. */
  readonly hooksMs: number;
}

export interface WatcherOptions {
  readonly settings: WatcherSettings;
  readonly ledger: Pick<JobLedger, "submit" | "onChange" | "caughtUp" | "getMany" | "ids" | "isDrained">;
  readonly locks: Pick<LockManager, "list">;
  readonly configStore: Pick<ConfigStore, "view">;
  readonly live: Pick<LiveState, "node" | "instance">;
  readonly notes: LeaderNotes;
  /** Undefined where no node's instances are ever started elsewhere without being asked. */
  readonly failover?: Pick<NodeFailover, "look"> | undefined;
  readonly hooks: Pick<WatcherHooks, "look">;
  readonly offlineNodes: Pick<OfflineNodes, "look">;
  readonly fence: Fence;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

export class Watcher {
  readonly #options: WatcherOptions;
  readonly #pending: PendingJobs;
  /** Undefined before the first look: what the last leader wrote down is read then. */
  #memory: WatcherMemory | undefined;
  #ailingBefore: ReadonlySet<string> = new Set();
  /** Verifications whose findings are awaited; those of a leader before are made anew. */
  #verifications: readonly JobId[] = [];

  constructor(options: WatcherOptions) {
    this.#options = options;
    this.#pending = new PendingJobs(options);
  }

  /** Look until the term is over. Never throws: what fails is done by the next look. */
  async run(over: AbortSignal): Promise<void> {
    const { settings, logger } = this.#options;
    for (;;) {
      await delay(settings.intervalMs, undefined, { signal: over }).catch(() => undefined);
      if (over.aborted) return this.#pending.close();
      try {
        await this.look();
      } catch (error) {
        if (!over.aborted) logger.warn({ err: error }, "the watcher could not finish its look; trying again");
      }
    }
  }

  /** One look at everything. @throws what keeps it from reading or writing; StaleEpoch */
  async look(): Promise<void> {
    const { configStore, notes, hooks } = this.#options;
    this.#memory ??= await recall(notes);
    const { view } = configStore;
    if (view.cluster.destroyed) return;
    const nowMs = this.#nowMs();
    const isPaused = watcherPausedUntil(view, nowMs / 1000) !== null;
    const { memory, waits } = isPaused ? { memory: this.#memory, waits: [] } : hooks.look(this.#memory, nowMs);
    const idle = await this.#reasonToIdle(view, nowMs);
    if (idle === undefined) {
      const failover = await this.#failOver(memory);
      await this.#tend(view, { ...failover, waits: [...waits, ...failover.waits] }, nowMs);
    } else {
      this.#ailingBefore = new Set();
      await this.#write({ ...memory, lookedAtS: nowMs / 1000, waits: [clusterWait(view, idle), ...waits] });
    }
  }

  async #failOver(memory: WatcherMemory): Promise<FailoverLook> {
    const { failover } = this.#options;
    return failover === undefined ? { memory, waits: [] } : await failover.look(memory, (kept) => this.#write(kept));
  }

  async #tend(view: ConfigView, { memory, waits }: FailoverLook, nowMs: number): Promise<void> {
    const { live, settings, offlineNodes } = this.#options;
    const inactive = await this.#inactiveDisks();
    const work = await this.#pending.look(view);
    const cared = offlineNodes.look(memory, work, nowMs / 1000);
    const plan = planLook({
      view,
      live,
      inactive,
      work,
      memory: cared.memory,
      ailingBefore: this.#ailingBefore,
      nowS: nowMs / 1000,
      verifyDisksS: settings.verifyDisksMs / 1000,
    });
    this.#ailingBefore = plan.ailing;
    // The tries are written down first: a leader that dies here has tried, and one that was replaced does nothing.
    const tried = { ...plan.memory, lookedAtS: nowMs / 1000, waits: [...waits, ...cared.waits, ...plan.waits] };
    await this.#write(tried);
    const proposals = [...cared.proposals, ...plan.proposals];
    if (proposals.length > 0) await this.#submit(proposals, view, tried, nowMs);
  }

  async #submit(proposals: readonly Proposal[], view: ConfigView, memory: WatcherMemory, nowMs: number): Promise<void> {
    const { ledger, logger } = this.#options;
    const jobs = proposals.map(({ opcode, reason }) => watcherJob([opcode], { reason, nowMs }));
    let ids: readonly JobId[];
    try {
      ids = await ledger.submit(jobs);
    } catch (error) {
      if (!(error instanceof JobQueueDrainError || error instanceof JobQueueFull)) throw error;
      return await this.#write({ ...memory, waits: [...memory.waits, clusterWait(view, error.message)] });
    }
    const deeds = proposals.map(({ action, name, reason }, index) => {
      const job = ids[index] ?? 0;
      logger.info({ action, name, job, reason }, "the watcher submitted a job");
      return { atS: nowMs / 1000, action, name, job, reason };
    });
    this.#verifications = [
      ...this.#verifications,
      ...deeds.filter(({ action }) => action === "verify disks").map(({ job }) => job),
    ];
    await this.#write(withDeeds(memory, deeds));
  }

  /** Names of instances with inactive disks, by the verifications that have ended since the last look. */
  async #inactiveDisks(): Promise<readonly string[]> {
    const jobs = await this.#options.ledger.getMany(this.#verifications);
    const over = jobs.filter((job) => job === undefined || FINAL.has(job.status));
    this.#verifications = jobs.flatMap((job) => (job === undefined || FINAL.has(job.status) ? [] : [job.id]));
    return over.flatMap((job) => {
      if (job?.status !== "success") return [];
      // As the opcode's declaration says, which its result was checked against.
      return job.opcodes.flatMap(({ result }) => (result as OpResult<typeof GroupVerifyDisks>)[1]);
    });
  }

  /** Why nothing at all is done now; undefined when something may be. */
  async #reasonToIdle(view: ConfigView, nowMs: number): Promise<string | undefined> {
    const pausedUntil = watcherPausedUntil(view, nowMs / 1000);
    if (pausedUntil !== null) return `the watcher is paused until ${new Date(pausedUntil * 1000).toISOString()}`;
    return (await this.#options.ledger.isDrained()) ? "the job queue is drained" : undefined;
  }

  async #write(memory: WatcherMemory): Promise<void> {
    const { notes, fence } = this.#options;
    this.#memory = memory;
    await notes.write(WATCHER_NOTE, memory, fence);
  }

  #nowMs(): number {
    return (this.#options.clock ?? Date.now)();
  }
}

function clusterWait({ cluster }: ConfigView, reason: string): Wait {
  return { kind: "cluster", name: cluster.name, reason };
}

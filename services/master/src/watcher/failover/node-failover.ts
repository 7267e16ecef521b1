/**
 * Starts the instances of a dead node elsewhere, once it is proven that none of its guests runs: by its out-of-band
 * program, or by its self-fence. The node is marked offline first, in the same submission; what its jobs find then they
 * check again under their locks. Only a node's silence is looked at here: whatever else is wrong with it, a person has to
 * judge.
 */
import { randomUUID } from "node:crypto";
import type { ConfigStore, Fence } from "@gannet/config-store";
import type { Job, JobLedger, NewJob } from "@gannet/job-ledger";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, type Node, type NodeUuid } from "@gannet/objects";
import type { OobCommand, OpResult, WireOpcode } from "@gannet/opcodes";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../../live-state/live-state-contract.ts";
import { oobProgramOf } from "../../logical-units/node/set-params-plan.ts";
import { watcherJob } from "../watcher-jobs.ts";
import { type Attempt, type Deed, type Incident, type Wait, type WatcherMemory, withDeeds } from "../watcher-memory.ts";
import { type Decision, decideOn, type PowerOff } from "./fencing-decision.ts";
import type { SelfFenceKeeper } from "./self-fence-keeper.ts";

export interface FailoverSettings {
  readonly enabled: boolean;
  /** How long a node may be silent. */
  readonly afterMs: number;
  /** The lease of nodes that guard themselves; 0: they do not. */
  readonly selfFenceMs: number;
}

export interface NodeFailoverOptions {
  readonly settings: FailoverSettings;
  readonly selfFences: Pick<SelfFenceKeeper, "fencesInMs" | "withhold" | "withholdOnly">;
  readonly configStore: Pick<ConfigStore, "view">;
  readonly live: Pick<LiveState, "node">;
  readonly ledger: Pick<JobLedger, "submit" | "get">;
  readonly fence: Fence;
  readonly logger: Logger;
  /** Milliseconds since 1970, for people. */
  readonly clock: () => number;
  /** Milliseconds of a clock that nothing sets. */
  readonly monotonic: () => number;
}

/** What of a look is remembered, and what is waited with. */
export interface FailoverLook {
  readonly memory: WatcherMemory;
  readonly waits: readonly Wait[];
}

/** Whatever a person wants, the instances of a dead node go first. */
const HIGH_PRIORITY = -10;
/** Between one attempt that failed and the next. */
const AGAIN_AFTER_S = 300;
const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

export class NodeFailover {
  readonly #options: NodeFailoverOptions;
  /** Since when a node does not answer, as this leader sees it. */
  readonly #silentSince = new Map<NodeUuid, number>();

  constructor(options: NodeFailoverOptions) {
    this.#options = options;
  }

  /**
   * @param keep - writes down what is remembered, before anything is done that must not be done twice
   * @throws Unavailable, StaleEpoch, what the ledger refuses
   */
  async look(before: WatcherMemory, keep: (memory: WatcherMemory) => Promise<void>): Promise<FailoverLook> {
    const { configStore, settings, selfFences, monotonic } = this.#options;
    const { view } = configStore;
    const online = [...view.nodes.values()].filter(({ offline }) => !offline);
    const silent = this.#silentOf(online);
    const bounds = { afterMs: settings.afterMs, silentNodes: silent.length, nodes: online.length };
    let memory: WatcherMemory = { ...before, incidents: this.#incidentsOf(silent, before) };
    const moving = Object.entries(memory.incidents).filter(([, { move }]) => move !== null);
    selfFences.withholdOnly(new Set(moving.map(([uuid]) => uuid)));
    const waits: Wait[] = [];
    for (const node of silent) {
      const incident = memory.incidents[node.uuid];
      if (incident === undefined) continue;
      const underWay = await this.#underWay(incident);
      const power = await this.#powerOf(view, node, incident);
      const fencesInMs = selfFences.fencesInMs(node.uuid);
      const silentMs = monotonic() - (this.#silentSince.get(node.uuid) ?? monotonic());
      const decision = underWay ?? decideOn({ silentMs, fencesInMs, power }, bounds);
      // At once, before anything renews it: from here on it starts nothing, whether it answers or not.
      if (decision.kind === "fail over") selfFences.withhold(node.uuid);
      if (decision.kind === "wait") waits.push({ kind: "node", name: node.name, reason: decision.reason });
      if (decision.kind === "power off") memory = await this.#powerOff(node, incident, memory, keep);
      if (decision.kind === "fail over") {
        waits.push(...stranded(view, node));
        memory = await this.#failOver(view, node, incident, memory, decision.proof, keep);
      }
    }
    return { memory, waits };
  }

  #silentOf(online: readonly Node[]): readonly Node[] {
    const { live, monotonic } = this.#options;
    const silent = online.filter(({ uuid }) => !live.node(uuid).reachable);
    const uuids = new Set(silent.map(({ uuid }) => uuid));
    for (const uuid of this.#silentSince.keys()) if (!uuids.has(uuid)) this.#silentSince.delete(uuid);
    for (const { uuid } of silent) if (!this.#silentSince.has(uuid)) this.#silentSince.set(uuid, monotonic());
    return silent;
  }

  #incidentsOf(silent: readonly Node[], { incidents }: WatcherMemory): Record<string, Incident> {
    const { epoch } = this.#options.fence;
    return Object.fromEntries(
      silent.map(({ uuid }): [string, Incident] => {
        const known = incidents[uuid];
        if (known === undefined) return [uuid, { epoch, powerOff: null, move: null }];
        // Between two leaders the node may have been powered on again.
        return [uuid, known.epoch === epoch ? known : { ...known, epoch, powerOff: null }];
      }),
    );
  }

  /** While the node is being marked offline nothing else is decided. */
  async #underWay({ move }: Incident): Promise<Decision | undefined> {
    if (move?.job == null) return undefined;
    const job = await this.#options.ledger.get(move.job);
    if (job === undefined || job.status === "success" || !FINAL.has(job.status))
      return {
        kind: "wait",
        reason: `it does not answer; its instances are failed over by job ${move.job} and those after it`,
      };
    if (this.#nowS() - move.atS >= AGAIN_AFTER_S) return undefined;
    return {
      kind: "wait",
      reason: `it does not answer and could not be marked offline (job ${move.job}); tried again`,
    };
  }

  async #powerOf(view: ConfigView, node: Node, { powerOff }: Incident): Promise<PowerOff> {
    if (oobProgramOf(view, node) === "") return "impossible";
    if (powerOff?.job == null) return "possible";
    const job = await this.#options.ledger.get(powerOff.job);
    if (job !== undefined && !FINAL.has(job.status)) return "under way";
    if (job !== undefined && confirmsPowerOff(job, node)) return "off";
    return this.#nowS() - powerOff.atS < AGAIN_AFTER_S ? "failed" : "possible";
  }

  async #powerOff(
    node: Node,
    incident: Incident,
    memory: WatcherMemory,
    keep: (memory: WatcherMemory) => Promise<void>,
  ): Promise<WatcherMemory> {
    const oob = { OP_ID: "OP_OOB_COMMAND", node_names: [node.name] };
    const reason = `node ${node.name} does not answer`;
    const commands = [
      { ...oob, command: "power-off", ignore_status: true },
      { ...oob, command: "power-status" },
    ];
    const jobs = [this.#job(commands, reason)];
    const attempted = (powerOff: Attempt): Incident => ({ ...incident, powerOff });
    const { powerOff: former } = incident;
    return await this.#attempt({ node, memory, keep, jobs, attempted, former, action: "power off", reason });
  }

  async #failOver(
    view: ConfigView,
    node: Node,
    incident: Incident,
    memory: WatcherMemory,
    proof: string,
    keep: (memory: WatcherMemory) => Promise<void>,
  ): Promise<WatcherMemory> {
    const offline = { OP_ID: "OP_NODE_SET_PARAMS", node_name: node.name, offline: true, auto_promote: true };
    const reason = `node ${node.name} does not answer; ${proof}`;
    const moves = movable(view, node).map(({ name }, index) =>
      this.#job([{ OP_ID: "OP_INSTANCE_FAILOVER", instance_name: name, depends: [[-1 - index, ["success"]]] }], reason),
    );
    const jobs = [this.#job([offline], reason), ...moves];
    const attempted = (move: Attempt): Incident => ({ ...incident, move });
    const { move: former } = incident;
    return await this.#attempt({ node, memory, keep, jobs, attempted, former, action: "fail over", reason });
  }

  /** Submit jobs once, whichever leader it is that does, and remember the first of them. */
  async #attempt(what: {
    readonly node: Node;
    readonly memory: WatcherMemory;
    readonly keep: (memory: WatcherMemory) => Promise<void>;
    readonly jobs: readonly NewJob[];
    readonly attempted: (attempt: Attempt) => Incident;
    /** The attempt before; one of which no job is known is made again. */
    readonly former: Attempt | null;
    readonly action: Deed["action"];
    readonly reason: string;
  }): Promise<WatcherMemory> {
    const { node, keep, jobs, attempted, former, action, reason } = what;
    const key = former !== null && former.job === null ? former.key : randomUUID();
    const attempt = { key, atS: this.#nowS(), job: null };
    const remember = (memory: WatcherMemory, made: Attempt): WatcherMemory => ({
      ...memory,
      incidents: { ...memory.incidents, [node.uuid]: attempted(made) },
    });
    await keep(remember(what.memory, attempt));
    const [job = 0] = await this.#options.ledger.submit(jobs, { id: `watcher-${key}`, digest: key });
    this.#options.logger.warn(
      { node: node.name, action, job, jobs: jobs.length, reason },
      "the watcher submitted jobs",
    );
    const memory = withDeeds(remember(what.memory, { ...attempt, job }), [
      { atS: this.#nowS(), action, name: node.name, job, reason },
    ]);
    await keep(memory);
    return memory;
  }

  #job(opcodes: readonly WireOpcode[], reason: string): NewJob {
    return watcherJob(opcodes, { reason, nowMs: this.#options.clock(), priority: HIGH_PRIORITY });
  }

  #nowS(): number {
    return this.#options.clock() / 1000;
  }
}

/** Both commands were answered, and the node has no power. */
function confirmsPowerOff({ status, opcodes }: Job, { name }: Node): boolean {
  if (status !== "success") return false;
  const [, powerStatus] = opcodes;
  const rows = (powerStatus?.result ?? []) as OpResult<typeof OobCommand>;
  return rows.some(
    ([shown, answer]) =>
      shown?.[1] === name &&
      answer?.[0] === 0 &&
      (answer[1] as { readonly powered?: unknown } | null)?.powered === false,
  );
}

/** What should run on the node and can run elsewhere. */
function movable(view: ConfigView, { uuid }: Node): readonly Instance[] {
  return wanted(view, uuid).filter(({ diskTemplate }) => DISK_TEMPLATE_TRAITS[diskTemplate].mirroring !== "none");
}

function stranded(view: ConfigView, { uuid, name: node }: Node): readonly Wait[] {
  return wanted(view, uuid)
    .filter(({ diskTemplate }) => DISK_TEMPLATE_TRAITS[diskTemplate].mirroring === "none")
    .map(({ name }) => ({ kind: "instance", name, reason: `its disks are on ${node} alone, which is dead` }));
}

function wanted(view: ConfigView, node: NodeUuid): readonly Instance[] {
  return [...view.primaryInstances(node)].filter(({ adminState, forthcoming }) => adminState === "up" && !forthcoming);
}

/** Moves that make a cluster's load more even, group by group, as hbal(1) plans them. */
import { nodeNames } from "./allocate.ts";
import { ClusterState, NOWHERE, type Placement, type PlanGroup } from "./cluster-state.ts";
import { opcodesOf, wayBetween } from "./move-steps.ts";
import { PlacementProbe } from "./placement-probe.ts";
import { PlacementSearch, type ScoredPlacement } from "./placement-search.ts";
import type { AllocatorCluster, AllocatorOpcode } from "./protocol.ts";

export interface BalanceOptions {
  /** UUIDs or names of the groups to balance; all when left out. */
  readonly groups?: readonly string[];
  /** No more moves than these in a group. */
  readonly maxMoves?: number;
  /** A group whose score, without what N+1 reserves, is below this is left as it is. 1e-9 when left out. */
  readonly minScore?: number;
  /** The least that a move must gain once the score is below `minGainLimit`. 0.01 when left out. */
  readonly minGain?: number;
  /** 0.1 when left out. */
  readonly minGainLimit?: number;
  /** Whether disks may be copied to other nodes. */
  readonly diskMoves?: "allowed" | "forbidden";
  /** Whether guests may be migrated. */
  readonly instanceMoves?: "allowed" | "forbidden";
  /** `evacuate`: move only what is on nodes that are offline or drained. */
  readonly mode?: "balance" | "evacuate";
  /** Only these instances are moved; all when left out. */
  readonly select?: readonly string[];
  readonly exclude?: readonly string[];
}

export interface BalanceMove {
  readonly instance: string;
  /** Names of its nodes, the primary first. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  /** The group's, after the move. */
  readonly score: number;
  /** The opcodes of the job that moves it. */
  readonly job: readonly AllocatorOpcode[];
}

export interface GroupBalance {
  readonly group: string;
  readonly scoreBefore: number;
  readonly scoreAfter: number;
  /** In their order: each is planned for what those before it leave. */
  readonly moves: readonly BalanceMove[];
  /** Jobs of one set have no node in common and can run at once; a set begins when the one before it has ended. */
  readonly jobSets: readonly (readonly (readonly AllocatorOpcode[])[])[];
}

/** Gains this small are rounding. */
const NO_GAIN = 1e-9;

/**
 * At each step the move of one instance that gains most. What moves gain is remembered from step to step and
 * computed anew only for the most promising, since it seldom grows as a group becomes more even; before the plan ends,
 * all is computed anew. With 5,000 instances on 200 nodes to compute all takes a second, and a plan has hundreds of steps.
 */
export function balancePlan(cluster: AllocatorCluster, options: BalanceOptions = {}): readonly GroupBalance[] {
  const state = new ClusterState(cluster);
  const { groups } = options;
  return state.groups
    .filter(({ uuid, message }) => groups === undefined || groups.includes(uuid) || groups.includes(message.name))
    .map((group) => new GroupBalancer(state, group, options).plan());
}

interface Known {
  readonly name: string;
  /** Undefined when no move of it gains anything. */
  readonly best: ScoredPlacement | undefined;
  readonly gain: number;
  /** How many moves were planned when this was computed. */
  readonly moves: number;
}

interface PlannedMove extends BalanceMove {
  readonly nodes: readonly number[];
}

class GroupBalancer {
  readonly #state: ClusterState;
  readonly #group: PlanGroup;
  readonly #options: BalanceOptions;
  readonly #probe: PlacementProbe;
  readonly #moves: PlannedMove[] = [];

  constructor(state: ClusterState, group: PlanGroup, options: BalanceOptions) {
    this.#state = state;
    this.#group = group;
    this.#options = options;
    this.#probe = new PlacementProbe(state, group, "refuse");
  }

  plan(): GroupBalance {
    const scoreBefore = this.#group.sums.score();
    const { minScore = 1e-9 } = this.#options;
    const known = this.#group.sums.avoidableScore() < minScore ? [] : this.#movable().map((name) => this.#known(name));
    while (this.#moves.length < (this.#options.maxMoves ?? Number.POSITIVE_INFINITY)) {
      const index = this.#mostPromising(known);
      const next = known[index];
      if (next?.best === undefined) break;
      this.#move(next.name, next.best);
      known[index] = this.#known(next.name);
      if (this.#group.sums.avoidableScore() < minScore) break;
    }
    return {
      group: this.#group.message.name,
      scoreBefore,
      scoreAfter: this.#group.sums.score(),
      moves: this.#moves.map(({ nodes, ...move }) => move),
      jobSets: jobSets(this.#moves),
    };
  }

  /** Instances of the group that have somewhere else to go, by name. */
  #movable(): readonly string[] {
    const { select, exclude = [], mode = "balance" } = this.#options;
    const [selected, excluded] = [select && new Set(select), new Set(exclude)];
    return this.#state.instanceNames().filter((name) => {
      if (excluded.has(name) || selected?.has(name) === false) return false;
      const there = this.#state.placed(name);
      if (there === undefined || there.instance.mirroring === "none") return false;
      const { primary, secondary } = there.placement;
      const nodes = secondary === NOWHERE ? [primary] : [primary, secondary];
      // An instance across groups, or without the secondary that it should have, is not balance's to repair.
      if (nodes.some((node) => this.#state.groupOf(node) !== this.#group)) return false;
      if (there.instance.mirroring === "internal" && secondary === NOWHERE) return false;
      return mode === "balance" || nodes.some((node) => !this.#state.node(node).usable);
    });
  }

  /**
   * Where in the list the move is that gains most and is known to; NOWHERE when none gains enough. What it learns on
   * the way it writes down.
   */
  #mostPromising(known: Known[]): number {
    for (;;) {
      const index = mostGaining(known);
      const first = known[index];
      if (first === undefined) return NOWHERE;
      if (!this.#suffices(first.gain)) {
        if (known.every(({ moves }) => moves === this.#moves.length)) return NOWHERE;
        for (const [at, { name, moves }] of known.entries())
          if (moves !== this.#moves.length) known[at] = this.#known(name);
      } else if (first.moves === this.#moves.length) return index;
      else known[index] = this.#known(first.name);
    }
  }

  #suffices(gain: number): boolean {
    const { minGain = 0.01, minGainLimit = 0.1 } = this.#options;
    return gain > (this.#group.sums.avoidableScore() < minGainLimit ? minGain : NO_GAIN);
  }

  #known(name: string): Known {
    const before = this.#group.sums.score();
    const { instance, placement: from } = this.#state.remove(name);
    this.#probe.aim(instance, from);
    const search = new PlacementSearch(this.#state, this.#probe, { instance, from, softErrors: "refuse" });
    if (instance.mirroring === "internal") this.#tryMirrored(search, from);
    else this.#tryShared(search, from);
    this.#state.place(instance, from);
    const { best } = search;
    return { name, best, gain: best === undefined ? 0 : before - best.score, moves: this.#moves.length };
  }

  /** All placements that keep one of the nodes. */
  #tryMirrored(search: PlacementSearch, { primary, secondary }: Placement): void {
    const { diskMoves = "allowed", instanceMoves = "allowed" } = this.#options;
    const fails = instanceMoves === "allowed";
    if (fails && this.#state.node(secondary).usable) search.try(secondary, primary);
    if (diskMoves === "forbidden") return;
    for (const other of this.#group.nodes) {
      if (other === primary || other === secondary) continue;
      search.try(primary, other);
      if (!fails) continue;
      search.try(other, secondary);
      if (this.#state.node(secondary).usable) search.try(secondary, other);
      search.try(other, primary);
    }
  }

  #tryShared(search: PlacementSearch, { primary }: Placement): void {
    if (this.#options.instanceMoves === "forbidden") return;
    for (const other of this.#group.nodes) if (other !== primary) search.try(other, NOWHERE);
  }

  #move(name: string, { placement: to }: ScoredPlacement): void {
    const { instance, placement: from } = this.#state.remove(name);
    const way = wayBetween(this.#state, instance, { from, to, softErrors: "refuse" });
    if ("refusal" in way) throw new Error(`instance ${name} has lost its way: ${way.refusal}`);
    this.#state.place(instance, to);
    this.#state.resum();
    this.#moves.push({
      instance: name,
      from: nodeNames(this.#state, from),
      to: nodeNames(this.#state, to),
      score: this.#group.sums.score(),
      job: opcodesOf(this.#state, name, way.steps),
      nodes: [from.primary, from.secondary, to.primary, to.secondary].filter((node) => node !== NOWHERE),
    });
  }
}

/** Of those that gain the same, the first by name. */
function mostGaining(known: readonly Known[]): number {
  let best = NOWHERE;
  let gain = Number.NEGATIVE_INFINITY;
  known.forEach((move, index) => {
    if (move.gain > gain) {
      best = index;
      gain = move.gain;
    }
  });
  return best;
}

/** A set ends before the first move that touches a node of one before it in the set. */
function jobSets(moves: readonly PlannedMove[]): GroupBalance["jobSets"] {
  const sets: (readonly AllocatorOpcode[])[][] = [];
  let touched = new Set<number>();
  for (const { nodes, job } of moves) {
    if (sets.length === 0 || nodes.some((node) => touched.has(node))) {
      sets.push([]);
      touched = new Set();
    }
    sets.at(-1)?.push(job);
    for (const node of nodes) touched.add(node);
  }
  return sets;
}

/** The best of many placements of one instance. */
import { type ClusterState, NOWHERE, type Placement, type PlanGroup } from "./cluster-state.ts";
import { wayBetween } from "./move-steps.ts";
import { PlacementProbe } from "./placement-probe.ts";
import { RefusalTally, type SoftErrors } from "./refusals.ts";
import type { SizedInstance } from "./sized-instance.ts";

/** A score less than this below another is none: so that rounding does not decide between nodes that are alike. */
const SAME_SCORE = 1e-12;

export interface ScoredPlacement {
  readonly placement: Placement;
  /** The group's, with the instance there. */
  readonly score: number;
}

/** Placements are tried one after another; of those with the same score the first is kept. */
export class PlacementSearch {
  readonly refusals = new RefusalTally();
  readonly #state: ClusterState;
  readonly #probe: PlacementProbe;
  readonly #softErrors: SoftErrors;
  #instance: SizedInstance;
  #from: Placement | undefined;
  #best: ScoredPlacement | undefined;
  #found = 0;

  /**
   * @param instance - nowhere in the state, at which the probe is aimed
   * @param from - where the instance was, if it was somewhere: then there must be a way from there
   */
  constructor(
    state: ClusterState,
    probe: PlacementProbe,
    search: { readonly instance: SizedInstance; readonly from: Placement | undefined; readonly softErrors: SoftErrors },
  ) {
    this.#state = state;
    this.#probe = probe;
    this.#softErrors = search.softErrors;
    this.#instance = search.instance;
    this.#from = search.from;
  }

  /** Undefined while nothing fits. */
  get best(): ScoredPlacement | undefined {
    return this.#best;
  }

  /** How many placements fit. */
  get found(): number {
    return this.#found;
  }

  try(primary: number, secondary: number): void {
    const refusal = this.#probe.refusal(primary, secondary);
    if (refusal !== undefined) {
      this.refusals.add(refusal);
      return;
    }
    const score = this.#probe.score(primary, secondary);
    if (this.#best === undefined || score < this.#best.score - SAME_SCORE) this.#keep({ primary, secondary }, score);
    else this.#found += 1;
  }

  /** The way is asked for only here: it costs more to find than a score. */
  #keep(placement: Placement, score: number): void {
    const way =
      this.#from === undefined
        ? undefined
        : wayBetween(this.#state, this.#instance, { from: this.#from, to: placement, softErrors: this.#softErrors });
    if (way !== undefined && "refusal" in way) {
      this.refusals.add(way.refusal);
      return;
    }
    this.#found += 1;
    this.#best = { placement, score };
  }
}

/** Nodes that may be tried, in the order of their names. */
export interface Candidates {
  /** Of one group, or where the instance is. */
  readonly primaries: readonly number[];
  /** Null for an instance that has no secondary. */
  readonly secondaries: readonly number[] | null;
  /** Where the instance is now, if it is somewhere. */
  readonly from?: Placement | undefined;
}

/**
 * Try all candidates, each primary with each secondary: the best is the first by the nodes' names.
 * @param instance - nowhere in the state
 */
export function searchPlacement(
  state: ClusterState,
  group: PlanGroup,
  instance: SizedInstance,
  { primaries, secondaries, from }: Candidates,
  softErrors: SoftErrors,
): PlacementSearch {
  const probe = new PlacementProbe(state, group, softErrors);
  probe.aim(instance, from);
  const search = new PlacementSearch(state, probe, { instance, from, softErrors });
  for (const primary of primaries)
    for (const secondary of secondaries ?? [NOWHERE]) if (secondary !== primary) search.try(primary, secondary);
  return search;
}

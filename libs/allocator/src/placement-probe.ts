/**
 * What a group's score would be with an instance on given nodes, and whether they can take it. What each node would
 * become is computed once an instance, so that a pair of nodes costs a few additions.
 */
import { type ClusterState, NOWHERE, type Placement, type PlanGroup } from "./cluster-state.ts";
import {
  countsScore,
  FAILING,
  METRIC_COUNT,
  type MeasuredUse,
  measure,
  NO_COUNTS,
  RESERVED,
  scoreOf,
} from "./group-score.ts";
import { type NodeUse, spindlesOn } from "./plan-node.ts";
import { REFUSALS, type Refusal, type SoftErrors } from "./refusals.ts";
import type { SizedInstance } from "./sized-instance.ts";

/** What becomes of the sums when nodes take a role: each node's metrics in a row, at its slot. */
class Outcomes {
  readonly sums: Float64Array;
  readonly squares: Float64Array;
  readonly refusals: (Refusal | undefined)[] = [];

  constructor(slots: number) {
    this.sums = new Float64Array(slots * METRIC_COUNT);
    this.squares = new Float64Array(slots * METRIC_COUNT);
  }
}

const NOTHING = { sums: new Float64Array(METRIC_COUNT), squares: new Float64Array(METRIC_COUNT) };
const NO_USE: MeasuredUse = {
  freeMemoryMib: 0,
  reservedMib: 0,
  freeDiskMib: 0,
  vcpus: 0,
  spindles: 0,
  primaries: 0,
  copies: 0,
};
const ELSEWHERE: Placement = { primary: NOWHERE, secondary: NOWHERE };

/** For any number of instances, one after another: {@link aim} at each. */
export class PlacementProbe {
  readonly #state: ClusterState;
  readonly #group: PlanGroup;
  readonly #softErrors: SoftErrors;
  /** Where each node's outcomes are; two more are for nodes where the instance is and others may not go. */
  readonly #slots: Int32Array;
  /** The group's sums with the instance's primary there. */
  readonly #asPrimary: Outcomes;
  /** What its secondary there adds to them. */
  readonly #asSecondary: Outcomes;
  /** Of no secondary, which adds nothing. */
  readonly #noSecondary: number;
  /** What sharing tags and missing locations adds to the score, beside the metrics. */
  readonly #primaryCounts: Float64Array;
  readonly #sums = new Float64Array(METRIC_COUNT);
  readonly #squares = new Float64Array(METRIC_COUNT);
  readonly #metrics = new Float64Array(METRIC_COUNT);
  // Written anew for each node: millions of objects would be made otherwise.
  readonly #withCopy = { ...NO_USE };
  readonly #withPrimary = { ...NO_USE };
  #counts = 0;
  #instance: SizedInstance | undefined;
  #from = ELSEWHERE;

  constructor(state: ClusterState, group: PlanGroup, softErrors: SoftErrors) {
    this.#state = state;
    this.#group = group;
    this.#softErrors = softErrors;
    this.#slots = new Int32Array(state.nodes.length).fill(NOWHERE);
    for (const [slot, node] of group.nodes.entries()) this.#slots[node] = slot;
    this.#noSecondary = group.nodes.length + 2;
    const slots = this.#noSecondary + 1;
    this.#asPrimary = new Outcomes(slots);
    this.#asSecondary = new Outcomes(slots);
    this.#primaryCounts = new Float64Array(slots);
  }

  /**
   * Probe this instance from now on, until the state changes.
   * @param instance - nowhere in the state
   * @param from - where it was before it was taken away: there it may stay, whatever else is wrong with the node
   */
  aim(instance: SizedInstance, from: Placement = ELSEWHERE): void {
    this.#instance = instance;
    for (const node of [this.#from.primary, this.#from.secondary])
      if (this.#slot(node) >= this.#group.nodes.length) this.#slots[node] = NOWHERE;
    this.#from = from;
    this.#counts = countsScore(this.#group.sums);
    for (const node of this.#group.nodes) this.#probe(instance, node, this.#slot(node));
    for (const [extra, node] of [from.primary, from.secondary].entries()) {
      if (node === NOWHERE || this.#slot(node) !== NOWHERE) continue;
      const slot = this.#group.nodes.length + extra;
      this.#slots[node] = slot;
      this.#probe(instance, node, slot);
    }
  }

  /** Why these nodes cannot take the instance. Both are of the group, or where the instance was. */
  refusal(primary: number, secondary: number): Refusal | undefined {
    const refusal = this.#asPrimary.refusals[this.#slot(primary)];
    if (refusal !== undefined || secondary === NOWHERE) return refusal;
    return this.#asSecondary.refusals[this.#slot(secondary)] ?? this.#pairRefusal(primary, secondary);
  }

  /** The group's score with the instance on such nodes. */
  score(primary: number, secondary: number): number {
    const slot = this.#slot(primary);
    const base = slot * METRIC_COUNT;
    const gain = (secondary === NOWHERE ? this.#noSecondary : this.#slot(secondary)) * METRIC_COUNT;
    const sums = this.#sums;
    const squares = this.#squares;
    const asPrimary = this.#asPrimary;
    const asSecondary = this.#asSecondary;
    for (let index = 0; index < METRIC_COUNT; index += 1) {
      sums[index] = (asPrimary.sums[base + index] as number) + (asSecondary.sums[gain + index] as number);
      squares[index] = (asPrimary.squares[base + index] as number) + (asSecondary.squares[gain + index] as number);
    }
    if (secondary !== NOWHERE) this.#reserve(primary, secondary);
    const counts = this.#counts + (this.#primaryCounts[slot] as number) + this.#pairCounts(primary, secondary);
    return scoreOf(this.#group.sums.size, sums, squares) + counts;
  }

  #slot(node: number): number {
    return this.#slots[node] ?? NOWHERE;
  }

  #probe(instance: SizedInstance, node: number, slot: number): void {
    const plan = this.#state.node(node);
    const use = this.#state.useOf(node);
    const withCopy = this.#withCopy;
    const withPrimary = this.#withPrimary;
    withCopy.freeMemoryMib = use.freeMemoryMib;
    withCopy.vcpus = use.vcpus;
    withCopy.primaries = use.primaries;
    withPrimary.freeMemoryMib = use.freeMemoryMib - instance.memoryMib;
    withPrimary.vcpus = use.vcpus + instance.vcpus;
    withPrimary.primaries = use.primaries + 1;
    withCopy.reservedMib = withPrimary.reservedMib = use.reservedMib;
    withCopy.freeDiskMib = withPrimary.freeDiskMib = use.freeDiskMib - instance.diskMib;
    withCopy.spindles = withPrimary.spindles = use.spindles + spindlesOn(plan, instance);
    withCopy.copies = withPrimary.copies = use.copies + 1;
    this.#outcome(this.#asSecondary, NOTHING, { node, slot, use: withCopy });
    this.#outcome(this.#asPrimary, this.#group.sums, { node, slot, use: withPrimary });
    this.#primaryCounts[slot] = this.#countsOfPrimary(instance, node, use);
    const { primary, secondary } = this.#from;
    const stays = node === primary || node === secondary;
    const diskRefusal = stays ? undefined : this.#diskRefusal(instance, node, withCopy);
    this.#asSecondary.refusals[slot] = diskRefusal;
    this.#asPrimary.refusals[slot] =
      diskRefusal ?? (node === primary ? undefined : this.#primaryRefusal(instance, node, withPrimary));
  }

  #outcome(
    outcomes: Outcomes,
    base: { readonly sums: Float64Array; readonly squares: Float64Array },
    { node, slot, use }: { readonly node: number; readonly slot: number; readonly use: MeasuredUse },
  ): void {
    const { sums } = this.#group;
    const before = sums.valuesOf(node);
    // What is of no group's sums, or of another's, does not change this one's.
    if (sums.has(node)) measure(this.#state.node(node), use, this.#metrics);
    else this.#metrics.set(before);
    const at = slot * METRIC_COUNT;
    for (let index = 0; index < METRIC_COUNT; index += 1) {
      const was = before[index] as number;
      const is = this.#metrics[index] as number;
      outcomes.sums[at + index] = (base.sums[index] as number) + is - was;
      outcomes.squares[at + index] = (base.squares[index] as number) + is * is - was * was;
    }
  }

  #primaryRefusal(instance: SizedInstance, node: number, use: MeasuredUse): Refusal | undefined {
    if (use.freeMemoryMib < 0) return "FailMem";
    if (use.vcpus > this.#state.node(node).maxVcpus && this.#refuses("FailCPU")) return "FailCPU";
    const { exclusion } = this.#state.useOf(node);
    if (instance.exclusion.some((tag) => exclusion.has(tag)) && this.#refuses("FailTags")) return "FailTags";
    return use.freeMemoryMib < use.reservedMib && this.#refuses("FailN1") ? "FailN1" : undefined;
  }

  #diskRefusal(instance: SizedInstance, node: number, use: MeasuredUse): Refusal | undefined {
    if (instance.diskMib > 0 && use.freeDiskMib < 0) return "FailDisk";
    return use.spindles > this.#state.node(node).spindles && this.#refuses("FailSpindles") ? "FailSpindles" : undefined;
  }

  #refuses(reason: Refusal): boolean {
    return this.#softErrors === "refuse" || !REFUSALS[reason].soft;
  }

  /** A node could be a secondary, but not this primary's: it could not start all that it would have to. */
  #pairRefusal(primary: number, secondary: number): Refusal | undefined {
    if (this.#softErrors === "ignore" || !this.#state.node(secondary).usable) return undefined;
    const use = this.#state.useOf(secondary);
    return this.#reservedWith(use, primary) > use.freeMemoryMib ? "FailN1" : undefined;
  }

  #reservedWith({ reservedMib, peerMemoryMib }: NodeUse, primary: number): number {
    return Math.max(reservedMib, (peerMemoryMib.get(primary) ?? 0) + (this.#instance?.memoryMib ?? 0));
  }

  /** What the secondary must keep free for this primary. */
  #reserve(primary: number, secondary: number): void {
    const use = this.#state.useOf(secondary);
    const reservedMib = this.#reservedWith(use, primary);
    if (reservedMib === use.reservedMib || !this.#group.sums.has(secondary)) return;
    const { totalMemoryMib } = this.#state.node(secondary);
    if (totalMemoryMib > 0) {
      const [before, after] = [use.reservedMib / totalMemoryMib, reservedMib / totalMemoryMib];
      this.#sums[RESERVED] = (this.#sums[RESERVED] as number) + after - before;
      this.#squares[RESERVED] = (this.#squares[RESERVED] as number) + after * after - before * before;
    }
    const failed = use.reservedMib > use.freeMemoryMib ? 1 : 0;
    const fails = reservedMib > use.freeMemoryMib ? 1 : 0;
    this.#sums[FAILING] = (this.#sums[FAILING] as number) + fails - failed;
  }

  #pairCounts(primary: number, secondary: number): number {
    const paired = secondary !== NOWHERE;
    const offlinePrimaries = this.#state.node(primary).usable ? 0 : 1;
    const offlineInstances = paired && !this.#state.node(secondary).usable ? 1 : offlinePrimaries;
    const sharedLocations = paired ? this.#state.sharedLocations(primary, secondary) : 0;
    if (offlineInstances + sharedLocations === 0) return 0;
    return countsScore({ ...NO_COUNTS, offlinePrimaries, offlineInstances, sharedLocations });
  }

  #countsOfPrimary(instance: SizedInstance, node: number, { exclusion }: NodeUse): number {
    if (instance.exclusion.length + instance.desired.length === 0) return 0;
    return countsScore({
      ...NO_COUNTS,
      exclusionConflicts: instance.exclusion.filter((tag) => exclusion.has(tag)).length,
      exclusionInLocations: this.#state.exclusionInLocations(instance, node),
      missedLocations: this.#state.missedLocations(instance, node),
    });
  }
}

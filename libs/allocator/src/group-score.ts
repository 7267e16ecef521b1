/**
 * How evenly a node group is loaded, as one number: smaller is better (hbal(1), "cluster scoring"). It is a weighted
 * sum of standard deviations over the group's nodes and of counts of what should not be.
 */
import type { NodeUse, PlanNode } from "./plan-node.ts";

/** The metrics of a node whose standard deviation counts, in the order of {@link measure}. */
const DEVIATIONS = [
  { metric: "free memory", weight: 1 },
  { metric: "reserved memory", weight: 1 },
  { metric: "free disk", weight: 1 },
  { metric: "virtual to physical processors", weight: 1 },
  { metric: "spindles", weight: 1 },
  // Processor, memory and network load, which for want of measurements are as large for each instance.
  { metric: "primary instances", weight: 3, shareOfAll: true },
  // Disk load, which a secondary has as well.
  { metric: "copies of instances", weight: 1, shareOfAll: true },
] as const satisfies readonly { metric: string; weight: number; shareOfAll?: true }[];

export const RESERVED = 1;
export const FAILING = DEVIATIONS.length;
/** With whether the node fails N+1, which is only counted. */
export const METRIC_COUNT = DEVIATIONS.length + 1;

const NOTHING = new Float64Array(METRIC_COUNT);
const WEIGHTS = Float64Array.from(DEVIATIONS, ({ weight }) => weight);
const SHARES = DEVIATIONS.map((deviation) => "shareOfAll" in deviation);

/** What each thing that should not be weighs. */
const WEIGHT_OF = {
  reservedMemory: 0.25,
  failing: 1,
  offlineInstances: 4,
  offlinePrimaries: 16,
  exclusionConflicts: 2,
  sharedLocations: 1,
  exclusionInLocations: 1,
  missedLocations: 1,
} as const;

/** What a node's metrics are computed of. */
export type MeasuredUse = Pick<
  NodeUse,
  "freeMemoryMib" | "reservedMib" | "freeDiskMib" | "vcpus" | "spindles" | "primaries" | "copies"
>;

/** Write one node's part in the score, in fractions of what the node has, or counts. */
export function measure(node: PlanNode, use: MeasuredUse, into: Float64Array): void {
  into[0] = part(use.freeMemoryMib, node.totalMemoryMib);
  into[RESERVED] = part(use.reservedMib, node.totalMemoryMib);
  into[2] = part(use.freeDiskMib, node.totalDiskMib);
  into[3] = part(use.vcpus, node.effectiveCpus);
  into[4] = part(use.spindles, node.spindles);
  into[5] = use.primaries;
  into[6] = use.copies;
  into[FAILING] = use.reservedMib > use.freeMemoryMib ? 1 : 0;
}

export function nodeMetrics(node: PlanNode, use: MeasuredUse): Float64Array {
  const metrics = new Float64Array(METRIC_COUNT);
  measure(node, use, metrics);
  return metrics;
}

/** Nothing of a whole that is not known. */
function part(value: number, whole: number): number {
  return whole > 0 ? value / whole : 0;
}

/** What is counted of a whole group, beside its nodes' metrics. */
export interface GroupCounts {
  /** Instances with a node that may take none (offline, drained). */
  offlineInstances: number;
  /** Of these, those whose primary node it is. */
  offlinePrimaries: number;
  /** Instances on a primary node where another has the same exclusion tag. */
  exclusionConflicts: number;
  /** Causes of failure that instances' primary and secondary have in common. */
  sharedLocations: number;
  /** Pairs of instances with the same exclusion tag in one location. */
  exclusionInLocations: number;
  /** Desired locations that instances' primary nodes are not in. */
  missedLocations: number;
}

export const NO_COUNTS: Readonly<GroupCounts> = {
  offlineInstances: 0,
  offlinePrimaries: 0,
  exclusionConflicts: 0,
  sharedLocations: 0,
  exclusionInLocations: 0,
  missedLocations: 0,
};

/** A group's sums, from which its score is read. */
export class GroupSums implements GroupCounts {
  offlineInstances = 0;
  offlinePrimaries = 0;
  exclusionConflicts = 0;
  sharedLocations = 0;
  exclusionInLocations = 0;
  missedLocations = 0;
  readonly sums = new Float64Array(METRIC_COUNT);
  readonly squares = new Float64Array(METRIC_COUNT);
  readonly #values = new Map<number, Float64Array>();

  /** How many nodes it sums. */
  get size(): number {
    return this.#values.size;
  }

  has(node: number): boolean {
    return this.#values.has(node);
  }

  /** A node's metrics as they are now in the sums. */
  valuesOf(node: number): Float64Array {
    return this.#values.get(node) ?? NOTHING;
  }

  /** A node's metrics have changed. */
  update(node: number, values: Float64Array): void {
    const before = this.valuesOf(node);
    this.#values.set(node, values);
    for (let index = 0; index < METRIC_COUNT; index += 1) {
      const [was = 0, is = 0] = [before[index], values[index]];
      this.sums[index] = (this.sums[index] ?? 0) + is - was;
      this.squares[index] = (this.squares[index] ?? 0) + is * is - was * was;
    }
  }

  /** Begin the sums anew. */
  resum(values: readonly (readonly [node: number, metrics: Float64Array])[]): void {
    this.#values.clear();
    this.sums.fill(0);
    this.squares.fill(0);
    for (const [node, metrics] of values) this.update(node, metrics);
  }

  score(): number {
    return scoreOf(this.size, this.sums, this.squares) + countsScore(this);
  }

  /** The score without what mirrored instances must reserve on the best of clusters too. */
  avoidableScore(): number {
    return this.score() - WEIGHT_OF.reservedMemory * (this.sums[RESERVED] as number);
  }
}

/** Where all nodes are alike, rounding leaves a variance of about 1e-14 of the square of their mean, on either side of 0. */
const EVEN = 1e-12;

/** The part of the score that the nodes' metrics make: the hot path of every search. */
export function scoreOf(nodes: number, sums: Float64Array, squares: Float64Array): number {
  if (nodes === 0) return 0;
  let score = WEIGHT_OF.reservedMemory * (sums[RESERVED] as number) + WEIGHT_OF.failing * (sums[FAILING] as number);
  for (let index = 0; index < FAILING; index += 1) {
    const sum = sums[index] as number;
    const mean = sum / nodes;
    const variance = (squares[index] as number) / nodes - mean * mean;
    if (variance <= EVEN * mean * mean) continue;
    const deviation = (WEIGHTS[index] as number) * Math.sqrt(variance);
    score += SHARES[index] ? deviation / Math.max(1, sum) : deviation;
  }
  return score;
}

export function countsScore(counts: GroupCounts): number {
  return (
    WEIGHT_OF.offlineInstances * counts.offlineInstances +
    WEIGHT_OF.offlinePrimaries * counts.offlinePrimaries +
    WEIGHT_OF.exclusionConflicts * counts.exclusionConflicts +
    WEIGHT_OF.sharedLocations * counts.sharedLocations +
    WEIGHT_OF.exclusionInLocations * counts.exclusionInLocations +
    WEIGHT_OF.missedLocations * counts.missedLocations
  );
}

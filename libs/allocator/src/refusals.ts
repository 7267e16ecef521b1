/** Why a node, or a pair of nodes, cannot take an instance; the words are those of Ganeti's allocator. */

/** Soft ones may be overridden by whoever has to empty a node at any price. */
export const REFUSALS = {
  FailMem: { soft: false },
  /** The way there needs a node that is offline or takes no instances. */
  FailOffline: { soft: false },
  FailDisk: { soft: false },
  FailSpindles: { soft: true },
  FailCPU: { soft: true },
  FailTags: { soft: true },
  FailMig: { soft: true },
  FailN1: { soft: true },
} as const satisfies Record<string, { readonly soft: boolean }>;
export type Refusal = keyof typeof REFUSALS;

/** Whether soft refusals count (`--ignore-soft-errors` of hail(1)). */
export type SoftErrors = "refuse" | "ignore";

/** How many placements were refused, by reason. */
export class RefusalTally {
  readonly #counts = new Map<string, number>();

  add(reason: string, count = 1): void {
    if (count > 0) this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count);
  }

  get total(): number {
    return this.#counts.values().reduce((sum, count) => sum + count, 0);
  }

  /** `FailMem: 2, FailDisk: 1`, the most frequent first; empty when nothing was refused. */
  toString(): string {
    return [...this.#counts]
      .sort(([reasonA, a], [reasonB, b]) => b - a || compareNames(reasonA, reasonB))
      .map(([reason, count]) => `${reason}: ${count}`)
      .join(", ");
  }
}

/** By code units, so that the order is the same everywhere. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

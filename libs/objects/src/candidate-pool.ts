/** The pool of master candidates: how many there should be, and who fills it (spec/config.json, `node_roles`). */
import type { Cluster, Node } from "./model.ts";
import type { NodeUuid } from "./names.ts";

export interface CandidatePool {
  /** How many master candidates there are, the master among them. */
  readonly candidates: number;
  /** As many as the cluster asks for, or all nodes that can be one when these are fewer. */
  readonly wanted: number;
  /** The nodes that become candidates so that there are enough, in the order of their names. */
  readonly promoted: readonly Node[];
}

/** @param without - counted neither as a candidate nor as a node that could be one, and not promoted */
export function candidatePool(
  { candidatePoolSize }: Pick<Cluster, "candidatePoolSize">,
  nodes: Iterable<Node>,
  without: readonly NodeUuid[] = [],
): CandidatePool {
  const able = [...nodes].filter((node) => canBeCandidate(node) && !without.includes(node.uuid));
  const candidates = able.filter(({ masterCandidate }) => masterCandidate).length;
  const wanted = Math.min(able.length, candidatePoolSize);
  const promoted = able
    .filter(({ masterCandidate }) => !masterCandidate)
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .slice(0, Math.max(0, wanted - candidates));
  return { candidates, wanted, promoted };
}

function canBeCandidate({ offline, drained, masterCapable }: Node): boolean {
  return masterCapable && !offline && !drained;
}

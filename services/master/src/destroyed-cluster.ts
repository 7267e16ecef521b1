import { OpPrereqError } from "@gannet/errors";
import type { ConfigView } from "@gannet/objects";

/**
 * After OP_CLUSTER_DESTROY nothing is changed any more; what there was can still be looked at.
 * @throws OpPrereqError (wrong_state)
 */
export function refuseWhenDestroyed({ cluster }: Pick<ConfigView, "cluster">): void {
  if (!cluster.destroyed) return;
  throw new OpPrereqError(
    `The cluster ${cluster.name} has been destroyed and takes no more changes; set up a new one to go on`,
    "wrong_state",
  );
}

/** What the remote API changes without a job, it changes as the leader. */
import type { Fence } from "@gannet/config-store";
import { Unavailable } from "@gannet/errors";
import type { RapiDeps } from "./rapi-deps.ts";

/**
 * @param what - "changes filters", for the message
 * @throws Unavailable on a master that does not lead
 */
export function leadersFence(leader: RapiDeps["leader"], what: string): Fence {
  const fence = leader.current();
  if (fence !== undefined) return fence;
  throw new Unavailable(`This master does not lead the cluster now, and only the leader ${what}; ask it, or try again`);
}

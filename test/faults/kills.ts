/** What is done to the daemons, planned from a seed. */
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { DAEMONS, type Daemon, ended, frozen, LEASE_MS } from "./fault-cluster.ts";
import type { SeededRandom } from "./seeded-random.ts";

export interface Kill {
  readonly daemon: Daemon;
  /** `kill`: SIGKILL. `freeze`: SIGSTOP for longer than the lease, then SIGCONT. */
  readonly how: "kill" | "freeze";
  /** After the beginning of its burst of jobs. */
  readonly afterMs: number;
  /** How long a freeze lasts. */
  readonly forMs: number;
}

const LATEST_MS = 1_500;

/** Every daemon in both ways equally often, in an order and at moments that the seed decides. */
export function plannedKills(count: number, random: SeededRandom): readonly Kill[] {
  const kinds = DAEMONS.flatMap((daemon) => (["kill", "freeze"] as const).map((how) => ({ daemon, how })));
  const rounds = Array.from({ length: Math.ceil(count / kinds.length) }, () => random.shuffled(kinds));
  return rounds
    .flat()
    .slice(0, count)
    .map((kind) => ({
      ...kind,
      afterMs: random.integer(0, LATEST_MS),
      forMs: random.integer(Math.ceil(LEASE_MS * 1.1), LEASE_MS * 1.5),
    }));
}

/** Do it, and wait until the daemon runs again. */
export async function inflict(cluster: OneMachineCluster, { daemon, how, forMs }: Kill): Promise<void> {
  if (how === "kill") await ended(cluster, daemon, "SIGKILL");
  else await frozen(cluster, daemon, forMs);
}

/** A leader that is killed: how long until a standby has done its first job. */
import { setTimeout as delay } from "node:timers/promises";
import { RedisLeaderElection } from "@gannet/locking";
import { connectRedis } from "@gannet/redis";
import { eventually } from "../e2e/conditions.ts";
import { SecondMaster } from "../faults/second-master.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { print } from "./figures.ts";
import { LedgerJobs, redisSocket } from "./jobs.ts";

/** The master's default. */
const LEASE_MS = 5_000;
const ROUNDS = 3;

export async function benchFailover(cluster: OneMachineCluster): Promise<void> {
  await using jobs = new LedgerJobs(cluster);
  await using second = await SecondMaster.start(cluster);
  const redis = connectRedis({ kind: "socket", path: redisSocket(cluster) }, { name: "bench" });
  const election = new RedisLeaderElection(redis, { holder: "bench" });
  const times: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      if (round > 0) await second.startAgain();
      // The launcher's master stops in order and comes back to stand by. The second one, which nobody starts again,
      // is the leader that is killed.
      process.kill(await cluster.pid("master"), "SIGTERM");
      await eventually("the second master leads", async () => (await election.current())?.holder === second.holder);
      await eventually("the first stands by", async () => (await cluster.rapi("GET", "/2/info")).status === 200);
      await jobs.one();
      // At another point of the lease each time.
      await delay((round * LEASE_MS) / 3 / ROUNDS);
      const start = performance.now();
      second.signal("SIGKILL");
      await jobs.one();
      times.push(performance.now() - start);
      await second.end("SIGKILL");
    }
  } finally {
    redis.disconnect();
  }
  print({
    name: "kill -9 of the leader with a standby, until the first job is done, longest",
    value: Math.max(...times),
    unit: "ms",
    baseline: LEASE_MS,
    goal: `value <= ${LEASE_MS + 2_000}`,
  });
}

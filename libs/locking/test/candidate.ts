/**
 * A candidate in a process of its own, to be frozen by signals: `candidate.ts <socket> <holder> <lease in ms>`.
 * It tells its parent `{ leading: epoch }`, and when it is over `{ lost: reason, refused: name of the error }`,
 * where the latter is what a write under its epoch met.
 */
import { connectRedis } from "@gannet/redis";
import { RedisLeaderElection, RedisLockManager } from "../src/index.ts";

const [socket = "", holder = "", leaseMs] = process.argv.slice(2);
const redis = connectRedis({ kind: "socket", path: socket }, { name: holder });
const election = new RedisLeaderElection(redis, { holder, leaseMs: Number(leaseMs) });
const { epoch, lost } = await election.campaign(new AbortController().signal);
lost.addEventListener("abort", async () => {
  const write = new RedisLockManager(redis).release(1, "all", { epoch });
  const refused = await write.then(() => "nothing").catch((error: Error) => error.name);
  process.send?.({ lost: String(lost.reason), refused }, () => process.exit());
});
process.send?.({ leading: epoch });

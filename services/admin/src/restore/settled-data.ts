/**
 * What a restored Redis begins with: the backup's data, made such that a cluster can go on from them although the world
 * has moved since. Nodes have seen later leaders and later jobs; jobs that were under way have ended, one way or other.
 */
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { forgetMasterServers, readConfiguration } from "@gannet/config-store";
import { ConfigurationError } from "@gannet/errors";
import { type JobId, RedisJobLedger, readLedgerMarks, skipJobIds } from "@gannet/job-ledger";
import { presentEpoch, raiseEpoch } from "@gannet/locking";
import { connectRedis, type RedisAddress, redisKey, startEmbeddedRedis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { aboveThePast } from "../above-the-past.ts";

const SEED_FILE = "backup.rdb";
const PAGE = 500;

export interface SettledData {
  readonly clusterName: string;
  readonly serial: number;
  readonly jobs: number;
  /** Jobs that had not begun: they are canceled. */
  readonly canceled: number;
  /** Jobs that were under way: the next leader ends them as error, and undoes nothing. */
  readonly interrupted: number;
}

/**
 * From an RDB file to the append-only files of a server.
 * @param work - holds `backup.rdb`, and `appendonlydir` afterwards; of this user only
 * @param created - when the backup was made, in seconds since 1970
 * @throws Unavailable when Redis cannot read the file; ConfigurationError when there is no cluster in it
 */
export async function settleData(work: string, created: number): Promise<SettledData> {
  // A socket's path is short, and folders of the layout may be deep.
  const run = await mkdtemp(path.join(tmpdir(), "gannet-restore-"));
  try {
    const server = await startEmbeddedRedis({
      directory: work,
      socketPath: path.join(run, "redis.sock"),
      seedFile: SEED_FILE,
    });
    try {
      return await settle(server.address, created);
    } finally {
      await server.stop();
    }
  } finally {
    await rm(run, { recursive: true, force: true });
  }
}

/** Where {@link settleData} wants the RDB file. */
export async function seedFileIn(work: string): Promise<string> {
  await mkdir(work, { recursive: true, mode: 0o700 });
  return path.join(work, SEED_FILE);
}

/** Move the server's files into Redis' own folder. */
export async function installData(work: string, redisDir: string): Promise<void> {
  await mkdir(redisDir, { recursive: true, mode: 0o700 });
  await rename(path.join(work, "appendonlydir"), path.join(redisDir, "appendonlydir"));
}

async function settle(address: RedisAddress, created: number): Promise<SettledData> {
  const redis = connectRedis(address, { name: "restore" });
  try {
    const configuration = await readConfiguration(redis);
    if (configuration === undefined) throw new ConfigurationError("The backup's data hold no cluster");
    // The lease of whoever led then is over.
    await redis.del(redisKey("leader"), redisKey("leader", "successor"));
    // This machine is the only master; the others join again.
    await forgetMasterServers(redis);
    const { lastJob } = await readLedgerMarks(redis);
    const above = aboveThePast({ epoch: await presentEpoch(redis), lastJob, time: created }, Date.now() / 1000);
    await raiseEpoch(redis, above.epoch);
    const jobs = await settleJobs(address, above.epoch);
    await skipJobIds(redis, above.lastJob);
    return { clusterName: configuration.rows.cluster.name, serial: configuration.serial, ...jobs };
  } finally {
    redis.disconnect();
  }
}

/**
 * Jobs that had not begun are canceled, because somebody may have seen them end since. Those that were under way keep
 * nothing to undo: what an undo list would remove may be an instance's disk by now.
 */
async function settleJobs(
  address: RedisAddress,
  epoch: number,
): Promise<Pick<SettledData, "jobs" | "canceled" | "interrupted">> {
  const wakeQueue = { wake: () => Promise.resolve(), reprioritize: () => Promise.resolve() };
  const ledger = new RedisJobLedger({ address, name: "restore", wakeQueue, logger: silentLogger() });
  try {
    const ids = await ledger.ids({});
    let [canceled, interrupted] = [0, 0];
    for (const page of pages(ids)) {
      for (const job of await ledger.getMany(page)) {
        if (job?.status === "queued" || job?.status === "waiting") {
          await ledger.cancel(job.id);
          canceled += 1;
        }
        if (job?.status !== "running") continue;
        interrupted += 1;
        const index = job.opcodes.findIndex(({ status }) => status === "running");
        await ledger.clearUndo(job.id, index, { epoch });
      }
    }
    return { jobs: ids.length, canceled, interrupted };
  } finally {
    await ledger.close();
  }
}

function pages(ids: readonly JobId[]): readonly (readonly JobId[])[] {
  return Array.from({ length: Math.ceil(ids.length / PAGE) }, (_, n) => ids.slice(n * PAGE, (n + 1) * PAGE));
}

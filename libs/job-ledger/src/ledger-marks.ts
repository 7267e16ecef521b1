/** How far the ledger has come, in counts that only grow: by them a Redis that lost data is told from one that has it. */
import { defineScript, luaFile, type Redis, redisUnavailable } from "@gannet/redis";
import type { JobId } from "./job.ts";
import { jobsKey } from "./scripts.ts";

export interface LedgerMarks {
  /** The last id given out; 0 before the first. */
  readonly lastJob: JobId;
  /** How many changes of jobs there have been. */
  readonly changes: number;
}

const skip = defineScript({
  name: "job-ledger/skip-ids",
  lua: luaFile(import.meta.dirname, "lua/skip-ids.lua"),
  keys: 1,
  confirmed: true,
});

/** @throws Unavailable */
export async function readLedgerMarks(redis: Redis): Promise<LedgerMarks> {
  try {
    const [serial, [newest]] = await Promise.all([
      redis.get(jobsKey("serial")),
      redis.xrevrange(jobsKey("changes"), "+", "-", "COUNT", 1),
    ]);
    // Change n is entry 0-n of the stream (lua/ledger.lua).
    return { lastJob: Number(serial ?? 0), changes: Number(newest?.[0].split("-")[1] ?? 0) };
  } catch (error) {
    throw redisUnavailable(error);
  }
}

/**
 * See to it that the next job's id is above `id`: nodes answer steps of a job they know from their journals, so no
 * job may get an id that another has had. @throws Unavailable
 */
export async function skipJobIds(redis: Redis, id: JobId): Promise<void> {
  await skip.run(redis, [jobsKey("serial")], [id]);
}

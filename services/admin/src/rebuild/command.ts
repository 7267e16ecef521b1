/** `gannet-admin rebuild`: a cluster whose Redis has lost everything, from the copy of its configuration on any master candidate. */
import { readFile } from "node:fs/promises";
import {
  type ExportedConfiguration,
  parseConfiguration,
  readConfiguration,
  replaceConfiguration,
} from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import { readLedgerMarks, skipJobIds } from "@gannet/job-ledger";
import { presentEpoch } from "@gannet/locking";
import { connectRedis, type RedisAddress, redisReady } from "@gannet/redis";
import { Command } from "commander";
import { aboveThePast } from "../above-the-past.ts";
import { type MachineOptions, readMasterMachine } from "../master-machine.ts";
import { forgetWatermark, type KnownMarks, readWatermark } from "../watermark-file.ts";
import { withoutMasters } from "../without-masters.ts";

/** Where nothing tells how far the cluster was, it may have begun when there was no Gannet yet. */
const UNKNOWN = { epoch: 0, lastJob: 0, time: 0 } as const;
/** Commits that were made after the snapshot, at most. */
const SERIALS_SKIPPED = 1_000;
const READY_TIMEOUT_MS = 10_000;

interface RebuildOptions extends MachineOptions {
  readonly snapshot: string;
  readonly force: boolean;
}

export const rebuild = new Command("rebuild")
  .description("Make the cluster's configuration anew from a snapshot, after the loss of all that Redis held")
  .requiredOption("--snapshot <file>", "snapshot of the configuration, as each master candidate keeps one")
  .option("--force", "also where Redis holds a cluster: its configuration is lost, its jobs stay", false)
  .option("--config <file>", "configuration file of the master daemon")
  .option("--root <dir>", "prefix of the system's layout", "/")
  .action(runRebuild);

/** @throws OpPrereqError, ConfigurationError when the file is no snapshot, Unavailable */
export async function runRebuild(options: RebuildOptions): Promise<void> {
  const machine = await readMasterMachine(options);
  const snapshot = parseConfiguration(await snapshotText(options.snapshot));
  const { cluster, nodes, instances } = snapshot.rows;
  const left = await leftIn(machine.redis);
  if (left.cluster !== undefined && !options.force)
    throw new OpPrereqError(
      `Redis holds the cluster ${left.cluster}: it has not lost everything. --force puts the snapshot in its place`,
      "already_exists",
    );
  const above = aboveAllKnown(left, snapshot, await ownWatermark(machine.stateDir, cluster.uuid));
  const serial = await withoutMasters(
    machine.redis,
    async (redis, fence) => {
      await skipJobIds(redis, above.lastJob);
      return await replaceConfiguration(redis, snapshot.rows, fence, above.serial);
    },
    { aboveEpoch: above.epoch },
  );
  await forgetWatermark(machine.stateDir);
  console.log(
    `The cluster ${cluster.name} is rebuilt from serial ${snapshot.serial}, with ${nodes.length} nodes and ` +
      `${instances.length} instances, as serial ${serial}. Its jobs are lost; ids go on above ${above.lastJob}.`,
  );
  console.log(
    "Start gannet-master here first. Other masters will say that Redis has lost data: accept it there with --accept-redis-loss.",
  );
}

async function snapshotText(file: string): Promise<string> {
  return await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(`${file} cannot be read (${cause.code})`, "environment_error", { cause });
  });
}

/** Of another cluster it says nothing. */
async function ownWatermark(stateDir: string, cluster: string): Promise<KnownMarks | undefined> {
  const marks = await readWatermark(stateDir);
  return marks?.cluster === cluster ? marks : undefined;
}

/** By the snapshot's marks, this master's own note, and what is left in Redis. */
function aboveAllKnown(
  left: { readonly epoch: number; readonly lastJob: number },
  { serial, marks }: ExportedConfiguration,
  watermark: KnownMarks | undefined,
): { readonly epoch: number; readonly lastJob: number; readonly serial: number } {
  const now = Date.now() / 1000;
  // The note does not say when it was written; it is no older than the snapshot where it says more.
  const noted = aboveThePast({ epoch: 0, lastJob: 0, ...watermark, time: now }, now);
  const told = aboveThePast(marks ?? UNKNOWN, now);
  return {
    epoch: Math.max(told.epoch, noted.epoch, left.epoch),
    lastJob: Math.max(told.lastJob, noted.lastJob, left.lastJob),
    serial: Math.max(serial, watermark?.configurationSerial ?? 0) + SERIALS_SKIPPED,
  };
}

/** What Redis holds yet. */
async function leftIn(
  address: RedisAddress,
): Promise<{ readonly epoch: number; readonly lastJob: number; readonly cluster: string | undefined }> {
  const redis = connectRedis(address, { name: "admin" });
  try {
    await redisReady(redis, { timeoutMs: READY_TIMEOUT_MS });
    const [epoch, { lastJob }, configuration] = await Promise.all([
      presentEpoch(redis),
      readLedgerMarks(redis),
      readConfiguration(redis),
    ]);
    return { epoch, lastJob, cluster: configuration?.rows.cluster.name };
  } finally {
    redis.disconnect();
  }
}

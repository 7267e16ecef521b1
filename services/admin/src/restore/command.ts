/** `gannet-admin restore`: a master's machine from a backup. */
import { createReadStream } from "node:fs";
import { access, open, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { GannetError, OpPrereqError } from "@gannet/errors";
import { below, SYSTEM_LAYOUT } from "@gannet/objects";
import { connectRedis, redisReady } from "@gannet/redis";
import { Command } from "commander";
import { type ArchiveEntry, readArchive } from "../backup/archive.ts";
import { keyText } from "../backup/command.ts";
import { identityKey, type Opener, unseal } from "../backup/sealed-file.ts";
import { readMasterMachine } from "../master-machine.ts";
import { OwnerNames } from "../owner-names.ts";
import { readPassphrase } from "../passphrase.ts";
import { installData, type SettledData, seedFileIn, settleData } from "./settled-data.ts";
import {
  ownSentinel,
  singleMasterConfiguration,
  singleRedisConfiguration,
  singleSentinelConfiguration,
} from "./single-master.ts";
import { restoreName, Stage } from "./stage.ts";

/** Where one of them is, there is a cluster. */
const SIGNS_OF_A_CLUSTER = [
  SYSTEM_LAYOUT.masterConfigFile,
  path.join(SYSTEM_LAYOUT.caDir, "ca.key"),
  path.join(SYSTEM_LAYOUT.redisDir, "appendonlydir"),
] as const;

const WORK = path.join(SYSTEM_LAYOUT.redisDir, "restoring");

/** How long a Redis that should be stopped is waited for. */
const PROBE_TIMEOUT_MS = 500;

interface RestoreOptions {
  readonly root: string;
  readonly passphraseFile?: string | undefined;
  readonly identity?: string | undefined;
  readonly force: boolean;
}

export const restore = new Command("restore")
  .description("Set this machine up as the cluster's only master from a backup; the daemons must be stopped")
  .argument("<file>", "the backup")
  .option("--passphrase-file <file>", "file with the passphrase in its only line, - for the standard input")
  .option("--identity <pem>", "file with the RSA private key, for a backup that was made for a recipient")
  .option("--force", "also where there is a cluster; what is there is kept beside it", false)
  .option("--root <dir>", "prefix of the system's layout", "/")
  .action(runRestore);

/** All or nothing. @throws OpPrereqError, Unavailable */
export async function runRestore(file: string, options: RestoreOptions): Promise<void> {
  const { root } = options;
  if (options.force) await refuseRunning(root);
  else await refuseCluster(root);
  const by = await openerOf(options);
  const stage = new Stage(root, await OwnerNames.of(root), restoreName(new Date()));
  let data: SettledData;
  let kept: readonly string[];
  try {
    const about = await unpack(file, by, stage);
    await makeSingleMaster(root, stage);
    data = await settleData(stage.at(WORK), about.created);
    stage.include(SYSTEM_LAYOUT.redisDir);
    await installData(stage.at(WORK), stage.at(SYSTEM_LAYOUT.redisDir));
    await rm(stage.at(WORK), { recursive: true });
    await stage.finish();
    await stage.ownAs(path.join(SYSTEM_LAYOUT.redisDir, "appendonlydir"), SYSTEM_LAYOUT.redisDir);
    kept = await stage.install();
    console.log(
      `Restored the cluster ${about.clusterName}, as it was at ${new Date(about.created * 1000).toISOString()}.`,
    );
  } finally {
    await stage.discard();
  }
  console.log(
    `Configuration of serial ${data.serial}; ${data.jobs} jobs, of which ${data.canceled} had not begun and are canceled, ` +
      `and ${data.interrupted} were under way and end as error when a master starts.`,
  );
  for (const folder of kept) console.log(`What was there before is in ${folder}.`);
  console.log(
    "Start gannet-redis, gannet-sentinel and gannet-master. Other masters' machines join again (gannet-admin join-master).",
  );
}

type About = Extract<ArchiveEntry, { kind: "about" }>;

/** Everything of the file, checked to its end. */
async function unpack(file: string, by: Opener, stage: Stage): Promise<About> {
  let about: About | undefined;
  let hasData = false;
  for await (const { entry, content } of readArchive(unseal(readFrom(file), by))) {
    if (entry.kind === "about") about = entry;
    else if (entry.kind === "redis") {
      hasData = true;
      await using handle = await open(await seedFileIn(stage.at(WORK)), "wx", 0o600);
      for await (const part of content) await handle.writeFile(part);
    } else if (entry.kind !== "end") await stage.add(entry, content);
  }
  if (about === undefined || !hasData)
    throw new OpPrereqError("The backup cannot be used: it is not whole", "wrong_input");
  return about;
}

async function* readFrom(file: string): AsyncGenerator<Buffer> {
  try {
    for await (const part of createReadStream(file)) yield part as Buffer;
  } catch (cause) {
    if (cause instanceof GannetError || (cause as NodeJS.ErrnoException).code === undefined) throw cause;
    throw new OpPrereqError(`${file} cannot be read (${(cause as NodeJS.ErrnoException).code})`, "environment_error", {
      cause,
    });
  }
}

/** The files of several masters' machines name the others, which know nothing of this restore. */
async function makeSingleMaster(root: string, stage: Stage): Promise<void> {
  const text = (name: string) => readFile(stage.at(name), "utf8").catch(() => undefined);
  const [master, redis, password, sentinelBefore] = await Promise.all([
    text(SYSTEM_LAYOUT.masterConfigFile),
    text(SYSTEM_LAYOUT.redisConfigFile),
    text(SYSTEM_LAYOUT.redisPasswordFile),
    text(SYSTEM_LAYOUT.sentinelConfigFile),
  ]);
  if (master === undefined || redis === undefined) return;
  await writeFile(stage.at(SYSTEM_LAYOUT.redisConfigFile), singleRedisConfiguration(redis));
  const own = ownSentinel(master, redis);
  if (own === undefined || password === undefined || sentinelBefore === undefined) return;
  await writeFile(stage.at(SYSTEM_LAYOUT.masterConfigFile), singleMasterConfiguration(master, own));
  const sentinel = singleSentinelConfiguration(redis, own, {
    directory: below(root, SYSTEM_LAYOUT.sentinelDir),
    password: password.trim(),
  });
  if (sentinel !== undefined) await writeFile(stage.at(SYSTEM_LAYOUT.sentinelConfigFile), sentinel);
}

async function openerOf({ identity, passphraseFile }: RestoreOptions): Promise<Opener> {
  if (identity !== undefined) return { identity: identityKey(await keyText(identity)) };
  return { passphrase: await readPassphrase(passphraseFile, "known") };
}

/** What a daemon has open would be taken from under it. */
async function refuseRunning(root: string): Promise<void> {
  const machine = await readMasterMachine({ root }).catch(() => undefined);
  if (machine === undefined) return;
  const redis = connectRedis(machine.redis, { name: "admin" });
  try {
    const answers = await redisReady(redis, { timeoutMs: PROBE_TIMEOUT_MS }).then(
      () => true,
      () => false,
    );
    if (answers)
      throw new OpPrereqError(
        "The present cluster's Redis answers: stop gannet-master, gannet-sentinel and gannet-redis on all machines first",
        "wrong_state",
      );
  } finally {
    redis.disconnect();
  }
}

async function refuseCluster(root: string): Promise<void> {
  for (const sign of SIGNS_OF_A_CLUSTER) {
    const file = below(root, sign);
    const isThere = await access(file).then(
      () => true,
      () => false,
    );
    if (isThere)
      throw new OpPrereqError(
        `There is a cluster on this machine (${file}); --force puts the backup in its place`,
        "already_exists",
      );
  }
}

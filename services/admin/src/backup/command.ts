/** `gannet-admin backup`: all that makes the cluster, in one sealed file, while the cluster goes on. */
import { open, readFile, rename, rm } from "node:fs/promises";
import path from "node:path";
import { readConfiguration } from "@gannet/config-store";
import { OpPrereqError } from "@gannet/errors";
import type { Cluster } from "@gannet/objects";
import { connectRedis, copyRedisData, type RedisAddress, redisReady } from "@gannet/redis";
import { Command } from "commander";
import { type MachineOptions, readMasterMachine } from "../master-machine.ts";
import { OwnerNames } from "../owner-names.ts";
import { readPassphrase } from "../passphrase.ts";
import { entryHead } from "./archive.ts";
import { machineFiles } from "./machine-files.ts";
import { recipientKey, type Seal, seal } from "./sealed-file.ts";

const READY_TIMEOUT_MS = 10_000;

interface BackupOptions extends MachineOptions {
  readonly passphraseFile?: string | undefined;
  readonly recipient?: string | undefined;
  readonly force: boolean;
}

export const backup = new Command("backup")
  .description("Write the cluster's configuration, jobs and keys into one encrypted file, while the cluster runs")
  .argument("<file>", "the backup, which must not exist yet")
  .option("--passphrase-file <file>", "file with the passphrase in its only line, - for the standard input")
  .option("--recipient <pem>", "file with the RSA public key of who may open it, instead of a passphrase")
  .option("--force", "replace the file if it exists", false)
  .option("--config <file>", "configuration file of the master daemon")
  .option("--root <dir>", "prefix of the system's layout", "/")
  .action(runBackup);

/** The file is there whole, on disk, or not at all. @throws OpPrereqError, Unavailable */
export async function runBackup(file: string, options: BackupOptions): Promise<void> {
  const machine = await readMasterMachine(options);
  const to = await sealOf(options);
  await refuseExisting(file, options);
  const cluster = await presentCluster(machine.redis);
  const partial = `${path.resolve(file)}.partial`;
  const handle = await open(partial, "wx", 0o600).catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(
      `${partial} cannot be made (${cause.code}); another backup is under way, or one was killed: then remove it`,
      "environment_error",
      { cause },
    );
  });
  try {
    for await (const part of seal(content(options.root, machine, cluster), to)) await handle.writeFile(part);
    await handle.sync();
    await handle.close();
    await rename(partial, file);
  } catch (error) {
    await handle.close();
    await rm(partial, { force: true });
    throw error;
  }
  console.log(`${file}: backup of the cluster ${cluster.name}. Keep it where its passphrase or key is not.`);
}

async function* content(
  root: string,
  { redis, nodeName }: { readonly redis: RedisAddress; readonly nodeName: string },
  cluster: Cluster,
): AsyncGenerator<Buffer> {
  yield entryHead({
    kind: "about",
    created: Date.now() / 1000,
    nodeName,
    clusterName: cluster.name,
    clusterUuid: cluster.uuid,
    size: 0,
  });
  yield* machineFiles(root, await OwnerNames.of(root));
  const data = await copyRedisData(redis);
  try {
    yield entryHead({ kind: "redis", size: data.sizeBytes });
    yield* data.content;
  } finally {
    data.close();
  }
  yield entryHead({ kind: "end", size: 0 });
}

async function sealOf({ recipient, passphraseFile }: BackupOptions): Promise<Seal> {
  if (recipient === undefined) return { passphrase: await readPassphrase(passphraseFile, "new") };
  if (passphraseFile !== undefined)
    throw new OpPrereqError("A backup has a passphrase or a recipient, not both", "wrong_input");
  return { recipient: recipientKey(await keyText(recipient)) };
}

export async function keyText(file: string): Promise<string> {
  return await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(`${file} cannot be read (${cause.code})`, "environment_error", { cause });
  });
}

async function refuseExisting(file: string, { force }: BackupOptions): Promise<void> {
  const handle = force ? undefined : await open(file).catch(() => undefined);
  await handle?.close();
  if (handle !== undefined) throw new OpPrereqError(`${file} exists; --force replaces it`, "already_exists");
}

async function presentCluster(address: RedisAddress): Promise<Cluster> {
  const redis = connectRedis(address, { name: "admin" });
  try {
    await redisReady(redis, { timeoutMs: READY_TIMEOUT_MS });
    const configuration = await readConfiguration(redis);
    if (configuration === undefined)
      throw new OpPrereqError("There is no cluster in Redis: nothing to back up", "wrong_state");
    return configuration.rows.cluster;
  } finally {
    redis.disconnect();
  }
}

/** The files of a cluster's first machine: identities, passwords, and each daemon's configuration. */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { SYSTEM_LAYOUT } from "@gannet/objects";
import { type CertificateUsage, createCa, hashPassword, IDENTITY_FILES, issueCertificate } from "@gannet/pki";
import { redisConfiguration, SENTINEL_NAME, sentinelConfiguration } from "@gannet/redis";
import type { ClusterPlan } from "./cluster-plan.ts";
import type { MachinePlaces } from "./machine-places.ts";

/** Of template sharedfile, as in the cluster's first configuration (`newCluster` of @gannet/objects). */
const SHARED_FILE_STORAGE_DIR = "/srv/ganeti/shared-file-storage";

/** The user that a cluster begins with; it may do everything. */
const ADMIN = "admin";

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** By what each daemon shows who it is. Renewed certificates keep these names. */
export async function makeIdentities(plan: ClusterPlan, places: MachinePlaces): Promise<void> {
  const ca = await createCa({ dir: places.at(SYSTEM_LAYOUT.caDir) });
  const issue = (usage: CertificateUsage, dir: string, name: string, sans: readonly string[]) =>
    issueCertificate({ ca, usage, dir: places.at(dir), name, sans });
  const { name, nodeName, nodeAddress, masterIp } = plan;
  await issue("master", SYSTEM_LAYOUT.masterIdentityDir, nodeName, []);
  await issue("node", SYSTEM_LAYOUT.nodeIdentityDir, nodeName, [nodeAddress]);
  const here = [nodeAddress, "localhost", "127.0.0.1"];
  await issue("rapi", SYSTEM_LAYOUT.rapiIdentityDir, name, [nodeName, masterIp, ...here]);
  await issue("redis", SYSTEM_LAYOUT.redisTlsDir, nodeName, here);
}

/** Secrets that are made up here. @returns the first user's */
export async function makeSecrets(places: MachinePlaces): Promise<Credentials> {
  const credentials = { user: ADMIN, password: randomBytes(18).toString("base64url") };
  await writePrivate(places.at(SYSTEM_LAYOUT.adminCredentialsFile), `${credentials.user} ${credentials.password}\n`);
  const users = [
    "# Users of the remote API, one a line: name, password, rights (read, write, root). Read again on each change.",
    "# `gannet-admin hash-password` makes a line whose password nobody can read here.",
    `${ADMIN} {scrypt}${await hashPassword(credentials.password)} write,root`,
  ];
  await writePrivate(places.at(SYSTEM_LAYOUT.usersFile), `${users.join("\n")}\n`);
  const secret = path.join(places.at(SYSTEM_LAYOUT.masterIdentityDir), "cluster-domain-secret");
  await writePrivate(secret, `${randomBytes(20).toString("hex")}\n`);
  return credentials;
}

/** Redis with its password, and Sentinel, as on each further master's machine. */
export async function configureRedis({ nodeAddress, ports }: ClusterPlan, places: MachinePlaces): Promise<void> {
  const password = randomBytes(32).toString("base64url");
  await writePrivate(places.at(SYSTEM_LAYOUT.redisPasswordFile), `${password}\n`);
  const identity = (file: keyof typeof IDENTITY_FILES) =>
    path.join(places.at(SYSTEM_LAYOUT.redisTlsDir), IDENTITY_FILES[file]);
  const tls = { caFile: identity("ca"), certificateFile: identity("cert"), keyFile: identity("key") };
  const primary = { address: nodeAddress, port: ports.redis };
  const redis = redisConfiguration({
    directory: places.at(SYSTEM_LAYOUT.redisDir),
    listen: primary,
    password,
    tls,
    minReplicasToWrite: 0,
  });
  await writePrivate(places.at(SYSTEM_LAYOUT.redisConfigFile), redis);
  const sentinel = sentinelConfiguration({
    directory: places.at(SYSTEM_LAYOUT.sentinelDir),
    listen: { address: nodeAddress, port: ports.sentinel },
    password,
    tls,
    name: SENTINEL_NAME,
    primary,
    quorum: 1,
  });
  await writePrivate(places.at(SYSTEM_LAYOUT.sentinelConfigFile), sentinel);
}

/** The agent's configuration (services/node-agent/src/configuration.ts); what is left out is as it comes. */
export async function configureAgent(plan: ClusterPlan, places: MachinePlaces): Promise<void> {
  for (const folder of [plan.fileStorageDir, SHARED_FILE_STORAGE_DIR]) {
    await mkdir(path.dirname(places.at(folder)), { recursive: true, mode: 0o755 });
    await mkdir(places.at(folder), { recursive: true, mode: 0o750 });
  }
  await writeJson(places.at(SYSTEM_LAYOUT.nodeConfigFile), {
    nodeName: plan.nodeName,
    listen: { host: plan.nodeAddress, port: plan.ports.agent },
    stateDir: places.at(SYSTEM_LAYOUT.nodeStateDir),
    pkiDir: places.at(SYSTEM_LAYOUT.nodeIdentityDir),
    hypervisors: plan.hypervisors,
    fileStorageRoots: [places.at(plan.fileStorageDir)],
    sharedFileStorageRoots: [places.at(SHARED_FILE_STORAGE_DIR)],
    // Of several nodes on one machine each keeps its files below its own root, and none restarts the machine.
    ...(places.isWholeMachine ? {} : { storageRoot: places.root, sharedStorageRoot: places.root, powercycle: false }),
  });
}

/** The master's configuration (services/master/src/configuration.ts). No secret is in it. */
export async function configureMaster(plan: ClusterPlan, places: MachinePlaces): Promise<void> {
  const at = (dir: string, file: keyof typeof IDENTITY_FILES) => path.join(places.at(dir), IDENTITY_FILES[file]);
  await writeJson(places.at(SYSTEM_LAYOUT.masterConfigFile), {
    nodeName: plan.nodeName,
    redis: `sentinel://${urlHost(plan.nodeAddress)}:${plan.ports.sentinel}/${SENTINEL_NAME}`,
    redisPasswordFile: places.at(SYSTEM_LAYOUT.redisPasswordFile),
    redisCaFile: at(SYSTEM_LAYOUT.redisTlsDir, "ca"),
    redisCertificateFile: at(SYSTEM_LAYOUT.redisTlsDir, "cert"),
    redisKeyFile: at(SYSTEM_LAYOUT.redisTlsDir, "key"),
    stateDir: places.at(SYSTEM_LAYOUT.masterStateDir),
    identityDir: places.at(SYSTEM_LAYOUT.masterIdentityDir),
    caDir: places.at(SYSTEM_LAYOUT.caDir),
    redisTlsDir: places.at(SYSTEM_LAYOUT.redisTlsDir),
    rapi: {
      port: plan.ports.rapi,
      usersFile: places.at(SYSTEM_LAYOUT.usersFile),
      certificateFile: at(SYSTEM_LAYOUT.rapiIdentityDir, "cert"),
      keyFile: at(SYSTEM_LAYOUT.rapiIdentityDir, "key"),
      audit: { file: places.at(SYSTEM_LAYOUT.auditLogFile) },
    },
  });
}

function urlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(`${file}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o644 });
  await rename(`${file}.new`, file);
}

/** What was there, with whatever mode, goes first. */
async function writePrivate(file: string, text: string): Promise<void> {
  await rm(file, { force: true });
  await writeFile(file, text, { mode: 0o600, flag: "wx" });
}

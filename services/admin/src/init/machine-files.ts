/** The files of a cluster's first machine: identities, passwords, and each daemon's configuration. */
import { randomBytes } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import {
  agentConfigurationFile,
  hostAndPort,
  machineNames,
  masterConfigurationFile,
  SYSTEM_LAYOUT,
} from "@gannet/objects";
import { type CertificateUsage, createCa, hashPassword, issueCertificate } from "@gannet/pki";
import { SENTINEL_NAME } from "@gannet/redis";
import { redisFiles } from "../redis-files.ts";
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
  const here = machineNames(nodeAddress);
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
  const files = redisFiles(places, { address: nodeAddress, ports, password, masters: 1 });
  for (const [file, text] of Object.entries(files)) await writePrivate(places.at(file), text);
}

export async function configureAgent(plan: ClusterPlan, places: MachinePlaces): Promise<void> {
  for (const folder of [plan.fileStorageDir, SHARED_FILE_STORAGE_DIR]) {
    await mkdir(path.dirname(places.at(folder)), { recursive: true, mode: 0o755 });
    await mkdir(places.at(folder), { recursive: true, mode: 0o750 });
  }
  const { nodeName, nodeAddress, ports, hypervisors, fileStorageDir } = plan;
  const facts = {
    ...{ nodeName, listen: { host: nodeAddress, port: ports.agent }, hypervisors },
    ...{ fileStorageDirs: [fileStorageDir], sharedFileStorageDirs: [SHARED_FILE_STORAGE_DIR] },
  };
  await writeJson(places.at(SYSTEM_LAYOUT.nodeConfigFile), agentConfigurationFile(facts, places.root));
}

export async function configureMaster(plan: ClusterPlan, places: MachinePlaces): Promise<void> {
  const { nodeName, nodeAddress: host, ports } = plan;
  const sentinel = hostAndPort({ host, port: ports.sentinel });
  const servers = { redis: hostAndPort({ host, port: ports.redis }), sentinel };
  const facts = { nodeName, servers, sentinels: [sentinel], sentinelName: SENTINEL_NAME, rapiPort: ports.rapi };
  await writeJson(places.at(SYSTEM_LAYOUT.masterConfigFile), masterConfigurationFile(facts, places.root));
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

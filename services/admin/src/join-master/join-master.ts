/** A node of a cluster becomes a master's machine, too. Begun anew after any failure, it ends the same. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError, OpPrereqError } from "@gannet/errors";
import { hostAndPort, masterConfigurationFile, SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import type { JoinAnswer } from "@gannet/opcodes";
import {
  certificatesIn,
  createSigningRequest,
  fitsKey,
  installIdentity,
  type KeyAndRequest,
  replaceFiles,
  storeCa,
} from "@gannet/pki";
import type { JoinClient } from "@gannet/rapi-client";
import { type Endpoint, parseRedisAddress, type RedisAddress } from "@gannet/redis";
import type { MachinePlaces } from "../init/machine-places.ts";
import { redisFiles } from "../redis-files.ts";

export interface JoinMasterSettings {
  /** Of the node that this machine is; what its agent's configuration says when absent. */
  readonly name: string | undefined;
  /** Also when there is a master's configuration: all of it is made anew. */
  readonly force: boolean;
}

export interface JoinMasterParts {
  readonly places: MachinePlaces;
  readonly client: Pick<JoinClient, "authority" | "join">;
  /** Where the Redis is that takes writes now. */
  readonly primaryOf: (redis: RedisAddress) => Promise<Endpoint>;
}

/** What the operator is told of the machine that has joined. */
export interface JoinedMaster {
  readonly clusterName: string;
  readonly nodeName: string;
  /** Masters with this one. */
  readonly masters: number;
  /** `host:port` of all that there are, this machine's among them. */
  readonly sentinels: readonly string[];
  readonly sentinelName: string;
}

type MasterParts = NonNullable<JoinAnswer["master"]>;

interface Requests {
  readonly master: KeyAndRequest;
  readonly rapi: KeyAndRequest;
  readonly redis: KeyAndRequest;
}

/** @throws OpPrereqError, ConfigurationError, HttpError (a refused token), Unavailable */
export async function joinMaster(settings: JoinMasterSettings, parts: JoinMasterParts): Promise<JoinedMaster> {
  const { places, client } = parts;
  const configFile = places.at(SYSTEM_LAYOUT.masterConfigFile);
  if (!settings.force && (await isThere(configFile)))
    throw new OpPrereqError(
      `${configFile} is there: this machine has a master; --force makes it anew`,
      "already_exists",
    );
  const name = settings.name ?? (await nodeNameOf(places.at(SYSTEM_LAYOUT.nodeConfigFile)));
  const requests: Requests = {
    master: await createSigningRequest(),
    rapi: await createSigningRequest(),
    redis: await createSigningRequest(),
  };
  const { master: own, rapi, redis } = requests;
  const answer = await client.join({ node_name: name, csr: own.csr, rapi_csr: rapi.csr, redis_csr: redis.csr });
  const { master } = answer;
  if (master === null) throw new OpPrereqError("This token is a node's: run gannet-node join with it", "wrong_input");
  checkCertificates(answer, master, requests, client.authority);
  await installIdentities(places, answer, master, requests);
  await writeSecrets(places, master);
  await mkdir(path.dirname(places.at(SYSTEM_LAYOUT.auditLogFile)), { recursive: true, mode: 0o750 });
  const joined = await writeRedis(parts, answer, master, redis.key);
  await places.handOver();
  // Last: with it this machine has a master.
  await writeMasterConfiguration(places, master, joined);
  await places.handOver();
  return joined;
}

async function nodeNameOf(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(
      `${file} cannot be read (${cause.code}): a machine joins as a node first, by gannet-node join`,
      "environment_error",
      { cause },
    );
  });
  const { nodeName } = JSON.parse(text) as { readonly nodeName?: unknown };
  if (typeof nodeName === "string") return nodeName;
  throw new OpPrereqError(`${file} names no node`, "wrong_input");
}

/** The connection is verified, but what came by it is not trusted further than it has to be. */
function checkCertificates(answer: JoinAnswer, master: MasterParts, requests: Requests, authority: string): void {
  const authorities = certificatesIn(answer.ca);
  const issued = [
    [answer.certificate, requests.master],
    [master.rapi_certificate, requests.rapi],
    [master.redis_certificate, requests.redis],
  ] as const;
  const known = new X509Certificate(authority).fingerprint256;
  const isFit =
    authorities.some(({ fingerprint256 }) => fingerprint256 === known) &&
    issued.every(([pem, { key }]) => {
      const certificate = new X509Certificate(pem);
      return fitsKey(certificate, key) && authorities.some(({ publicKey }) => certificate.verify(publicKey));
    });
  if (!isFit) throw new ConfigurationError("The cluster has answered with certificates that are not for this machine");
}

async function installIdentities(
  places: MachinePlaces,
  { ca, certificate }: JoinAnswer,
  master: MasterParts,
  requests: Requests,
): Promise<void> {
  const at = (dir: string) => places.at(dir);
  const caKey = createPrivateKey(master.ca_key);
  const issuer = certificatesIn(ca).find((each) => each.checkPrivateKey(caKey));
  if (issuer === undefined) throw new ConfigurationError("The authority's key is of none of the cluster's authorities");
  await storeCa(at(SYSTEM_LAYOUT.caDir), { certificate: String(issuer), key: master.ca_key });
  await installIdentity(at(SYSTEM_LAYOUT.masterIdentityDir), { ca, cert: certificate, key: requests.master.key });
  await installIdentity(at(SYSTEM_LAYOUT.rapiIdentityDir), {
    ...{ ca, cert: master.rapi_certificate, key: requests.rapi.key },
  });
  await installIdentity(at(SYSTEM_LAYOUT.redisTlsDir), {
    ...{ ca: master.redis_ca, cert: master.redis_certificate, key: requests.redis.key },
  });
}

async function writeSecrets(places: MachinePlaces, master: MasterParts): Promise<void> {
  const secret = { content: `${master.domain_secret}\n`, mode: 0o600 };
  await replaceFiles(places.at(SYSTEM_LAYOUT.masterIdentityDir), { "cluster-domain-secret": secret });
  await write(places, SYSTEM_LAYOUT.redisPasswordFile, `${master.redis_password ?? ""}\n`);
  await write(places, SYSTEM_LAYOUT.usersFile, master.users);
  await write(places, SYSTEM_LAYOUT.adminCredentialsFile, `${master.credentials}\n`);
}

/** Redis as a replica of the one that takes writes now, and a Sentinel that watches it. */
async function writeRedis(
  { places, primaryOf }: JoinMasterParts,
  answer: JoinAnswer,
  master: MasterParts,
  key: string,
): Promise<JoinedMaster> {
  const password = master.redis_password ?? "";
  const address = parseRedisAddress(master.redis, {
    password,
    ca: master.redis_ca,
    certificate: { cert: master.redis_certificate, key },
  });
  if (address.kind !== "sentinel")
    throw new OpPrereqError(
      `The cluster's masters find Redis by ${master.redis}, without Sentinel: there can be no second one`,
      "environment_error",
    );
  const own = hostAndPort({ host: master.node_address, port: SYSTEM_PORTS.sentinel });
  const others = address.sentinels.map(hostAndPort).filter((each) => each !== own);
  const masters = others.length + 1;
  const primary = await primaryOf(address);
  for (const dir of [SYSTEM_LAYOUT.redisDir, SYSTEM_LAYOUT.sentinelDir])
    await mkdir(places.at(dir), { recursive: true, mode: 0o700 });
  const facts = { address: master.node_address, ports: SYSTEM_PORTS, password, masters, primary };
  for (const [file, content] of Object.entries(redisFiles(places, facts))) await write(places, file, content);
  return {
    clusterName: answer.cluster_name,
    nodeName: answer.node_name,
    masters,
    sentinels: [...others, own],
    sentinelName: address.name,
  };
}

async function writeMasterConfiguration(
  places: MachinePlaces,
  master: MasterParts,
  { nodeName, sentinels, sentinelName }: JoinedMaster,
): Promise<void> {
  const at = (port: number) => hostAndPort({ host: master.node_address, port });
  const servers = { redis: at(SYSTEM_PORTS.redis), sentinel: at(SYSTEM_PORTS.sentinel) };
  const facts = { nodeName, servers, sentinels, sentinelName, rapiPort: master.rapi_port };
  const configuration = masterConfigurationFile(facts, places.root);
  await write(places, SYSTEM_LAYOUT.masterConfigFile, `${JSON.stringify(configuration, null, 2)}\n`, 0o644);
}

async function write(places: MachinePlaces, file: string, content: string, mode = 0o600): Promise<void> {
  const place = places.at(file);
  await replaceFiles(path.dirname(place), { [path.basename(place)]: { content, mode } });
}

async function isThere(file: string): Promise<boolean> {
  return readFile(file).then(
    () => true,
    () => false,
  );
}

/** `gannet-node join`: this machine becomes a node of a cluster. Begun anew after any failure, it ends the same. */
import { X509Certificate } from "node:crypto";
import { mkdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect } from "node:tls";
import { ConfigurationError, HttpError, OpPrereqError, Unavailable } from "@gannet/errors";
import { agentConfigurationFile } from "@gannet/objects";
import type { JoinAnswer, JoinCompletion } from "@gannet/opcodes";
import { certificatesIn, createSigningRequest, fitsKey, installIdentity } from "@gannet/pki";
import { decodeJobError, type JoinClient } from "@gannet/rapi-client";
import { type AgentConfiguration, readConfiguration } from "../configuration.ts";
import { replaceDurably } from "../durable-file.ts";
import { isErrno } from "../errno.ts";
import { REVOCATION_LIST_FILE, REVOKED_FILE } from "../identity/node-identity.ts";

export interface JoinSettings {
  /** Name of this machine; what it calls itself when absent. */
  readonly name: string | undefined;
  /** Prefix of the system's layout. */
  readonly root: string;
  /** Of the agent. Kept when it is there and is for the same node. */
  readonly configFile: string;
  /** Make the configuration anew. */
  readonly force: boolean;
  /** How long to wait for the agent, and for the cluster to take the node in. */
  readonly patienceMs: number;
}

export interface JoinParts {
  readonly client: JoinClient;
  /** Have the agent run, or run again, with the new identity; false where only the operator can. */
  readonly startAgent: () => Promise<boolean>;
  readonly print: (line: string) => void;
}

const POLL_MS = 250;
const HANDSHAKE_MS = 2_000;
const SERVICE_UNAVAILABLE = 503;

/** @throws OpPrereqError, ConfigurationError, HttpError (a refused token), Unavailable; what the job failed with */
export async function joinNode(settings: JoinSettings, { client, startAgent, print }: JoinParts): Promise<void> {
  const before = settings.force ? undefined : await presentConfiguration(settings.configFile);
  const name = settings.name ?? before?.nodeName ?? hostname();
  if (before !== undefined && settings.name !== undefined && before.nodeName !== settings.name)
    throw new OpPrereqError(
      `${settings.configFile} is for ${before.nodeName}, not for ${settings.name}; --force makes it anew`,
      "wrong_state",
    );
  const { key, csr } = await createSigningRequest();
  const answer = await client.join({ node_name: name, csr });
  checkAnswer(answer, { key, authority: client.authority });
  print(`${answer.node_name} has a certificate of cluster ${answer.cluster_name}`);
  const configuration = await configured(settings, before, answer);
  await installIdentity(configuration.pkiDir, { ca: answer.ca, cert: answer.certificate, key });
  for (const file of [REVOKED_FILE, REVOCATION_LIST_FILE])
    await rm(path.join(configuration.pkiDir, file), { force: true });
  const { serialNumber } = new X509Certificate(answer.certificate);
  if (!(await startAgent()))
    print(`Nothing starts daemons here: start the agent now, gannet-node-agent --config ${settings.configFile}`);
  const deadline = Date.now() + settings.patienceMs;
  await untilAgentShows(serialNumber, configuration, { ca: answer.ca, cert: answer.certificate, key }, deadline);
  await untilTakenIn(client, answer.node_name, deadline, print);
}

async function presentConfiguration(file: string): Promise<AgentConfiguration | undefined> {
  return await readConfiguration(file).catch((error: unknown) => {
    if (error instanceof ConfigurationError && isErrno(error.cause, "ENOENT")) return undefined;
    throw error;
  });
}

/** The connection is verified, but what came by it is not trusted further than it has to be. */
function checkAnswer(answer: JoinAnswer, asked: { readonly key: string; readonly authority: string }): void {
  const certificate = new X509Certificate(answer.certificate);
  const authorities = certificatesIn(answer.ca);
  const known = new X509Certificate(asked.authority).fingerprint256;
  const isFit =
    fitsKey(certificate, asked.key) &&
    certificate.checkHost(answer.node_name, { subject: "never" }) !== undefined &&
    authorities.some(({ fingerprint256 }) => fingerprint256 === known) &&
    authorities.some(({ publicKey }) => certificate.verify(publicKey));
  if (!isFit || answer.role !== "node")
    throw new ConfigurationError("The cluster has answered with a certificate that is not for this node");
}

/** The agent's configuration: the one that is there, or a new one with the cluster's settings. */
async function configured(
  { configFile, root }: JoinSettings,
  before: AgentConfiguration | undefined,
  { node_name: nodeName, settings }: JoinAnswer,
): Promise<AgentConfiguration> {
  if (before?.nodeName === nodeName) return before;
  const { hypervisors, file_storage_dirs: fileStorageDirs, shared_file_storage_dirs: sharedFileStorageDirs } = settings;
  const made = agentConfigurationFile({ nodeName, hypervisors, fileStorageDirs, sharedFileStorageDirs }, root);
  for (const folder of [...made.fileStorageRoots, ...made.sharedFileStorageRoots]) {
    await mkdir(path.dirname(folder), { recursive: true, mode: 0o755 });
    await mkdir(folder, { recursive: true, mode: 0o750 });
  }
  await mkdir(path.dirname(configFile), { recursive: true, mode: 0o755 });
  await replaceDurably(configFile, `${JSON.stringify(made, null, 2)}\n`);
  return await readConfiguration(configFile);
}

interface OwnIdentity {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

async function untilAgentShows(
  serial: string,
  { nodeName, listen }: AgentConfiguration,
  identity: OwnIdentity,
  deadline: number,
): Promise<void> {
  const host = { "0.0.0.0": "127.0.0.1", "::": "::1" }[listen.host] ?? listen.host;
  while ((await shownSerial({ host, port: listen.port, servername: nodeName, ...identity })) !== serial) {
    if (Date.now() > deadline)
      throw new Unavailable(
        `The agent does not answer at ${host}:${listen.port} with its new certificate; look into its log, and join again with a new token`,
      );
    await delay(POLL_MS);
  }
}

/** Of the certificate that somebody shows there; undefined when nobody does. */
function shownSerial(
  target: OwnIdentity & { readonly host: string; readonly port: number; readonly servername: string },
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ ...target, minVersion: "TLSv1.3", ALPNProtocols: ["h2"] });
    const end = (serial?: string) => {
      socket.destroy();
      resolve(serial);
    };
    socket.setTimeout(HANDSHAKE_MS, () => end());
    socket.once("error", () => end());
    socket.once("secureConnect", () => end(socket.getPeerCertificate().serialNumber));
  });
}

async function untilTakenIn(
  client: JoinClient,
  name: string,
  deadline: number,
  print: (line: string) => void,
): Promise<void> {
  const isOver = (status: string) => ["success", "error", "canceled"].includes(status);
  let { job, status, result } = await completion(client, deadline);
  print(`The agent runs; job ${job} takes ${name} into the cluster`);
  while (!isOver(status)) {
    if (Date.now() > deadline)
      throw new Unavailable(
        `Job ${job} has not ended yet (${status}); see how it goes on the cluster: gnt job watch ${job}`,
      );
    await delay(POLL_MS);
    ({ status, result } = await completion(client, deadline));
  }
  if (status !== "success") throw decodeJobError(result);
  print(`${name} is a node of the cluster`);
}

/** Asked until there is an answer: the cluster's leader may change meanwhile. */
async function completion(client: JoinClient, deadline: number): Promise<JoinCompletion> {
  for (;;) {
    try {
      return await client.complete();
    } catch (error) {
      const mayPass =
        error instanceof Unavailable || (error instanceof HttpError && error.status === SERVICE_UNAVAILABLE);
      if (!mayPass || Date.now() > deadline) throw error;
    }
    await delay(POLL_MS);
  }
}

/** The master daemon: the only place where its parts are put together. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { RedisConfigStore, RedisJoinTokens, RedisLeaderNotes } from "@gannet/config-store";
import { exitCodeOf, GannetError, OpPrereqError, Unavailable } from "@gannet/errors";
import { BullWakeQueue, type JobLedger, RedisJobLedger } from "@gannet/job-ledger";
import { type Leadership, MasterRoster, MastersTurn, RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { hostAndPort } from "@gannet/objects";
import { certificateValidity, IDENTITY_FILES } from "@gannet/pki";
import { connectRedis, parseRedisAddress, patiently, type Redis, type RedisSecrets } from "@gannet/redis";
import { createNodeClient } from "@gannet/rpc";
import { createLogger, createMetricsRegistry, type Logger, serviceManager, tryMetricsServer } from "@gannet/telemetry";
import {
  auditFile,
  domainSecretFile,
  loginLimits,
  type MasterConfiguration,
  readConfiguration,
} from "./configuration.ts";
import { readDomainSecret } from "./domain-secret.ts";
import { carriesSecrets, SecretVault } from "./executor/secret-vault.ts";
import { acceptLoss, WatermarkFile } from "./leader-watermark.ts";
import { RedisGuard } from "./leader-watermark-guard.ts";
import { KnownServers } from "./leadership/known-servers.ts";
import { Masters } from "./leadership/masters.ts";
import { rapiPlaceOf } from "./leadership/rapi-place.ts";
import { eligible } from "./leadership/standby.ts";
import { MemoryLiveState } from "./live-state/live-state.ts";
import { LOGICAL_UNITS, unavailableIn } from "./logical-units/registry.ts";
import { ClusterAuthority } from "./membership/cluster-authority.ts";
import { Joining } from "./membership/joining.ts";
import { keepMasterIdentity, MasterIdentity, ownIdentities } from "./membership/master-identity.ts";
import { masterSecrets } from "./membership/master-secrets.ts";
import { NodeCertificates } from "./membership/node-certificates.ts";
import { certificatesInUse, OwnServers } from "./membership/own-servers.ts";
import { redisClientTls } from "./membership/redis-client-tls.ts";
import { MasterMetrics } from "./metrics/master-metrics.ts";
import { readinessOf } from "./metrics/readiness.ts";
import { instanceConsole } from "./nodes/instance-console.ts";
import { type AgentTarget, NodeDirectory } from "./nodes/node-directory.ts";
import { NodeWatcher } from "./nodes/node-watcher.ts";
import { AuditLog } from "./rapi/audit-log.ts";
import { contactText, LeaderForwarding } from "./rapi/leader-forwarding.ts";
import type { TlsIdentity } from "./rapi/rapi-deps.ts";
import { createRapiServer } from "./rapi/rapi-server.ts";
import { createRefusingServer, type RefusingServer } from "./rapi/refusing-server.ts";
import { TlsFiles } from "./rapi/tls-files.ts";
import { lead } from "./term.ts";
import { GANNET_VERSION } from "./version.ts";

/** Between the end of one term and the next candidacy. */
const CANDIDACY_PAUSE_MS = 500;
/** At a start Redis may take so long before clients are told that it is awaited. */
const START_PATIENCE_MS = 2_000;
/** After the order to stop; longer than the executor's grace, shorter than supervisors wait before they kill. */
const STOP_DEADLINE_MS = 15_000;
/** Redis has just answered. */
const NOTES_PATIENCE_MS = 60_000;
const MANAGER = serviceManager();

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { config: { type: "string" }, "accept-redis-loss": { type: "boolean", default: false } },
  });
  if (values.config === undefined)
    throw new OpPrereqError("usage: main.ts --config FILE [--accept-redis-loss]", "wrong_input");
  const configuration = await readConfiguration(values.config);
  if (values["accept-redis-loss"]) {
    const lost = await acceptLoss(await WatermarkFile.below(configuration.stateDir));
    console.log(`accepted: ${lost.join(", ")}`);
    return;
  }
  const logger = await createLogger({ name: "master", level: configuration.logLevel, format: configuration.logFormat });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  stop.signal.addEventListener("abort", () => MANAGER.stopping());
  stop.signal.addEventListener("abort", () => setTimeout(() => giveUpStopping(logger), STOP_DEADLINE_MS).unref());
  await serve(configuration, logger, stop.signal);
}

/** Everything from the first connection to the last, until `stop` is aborted. */
async function serve(configuration: MasterConfiguration, logger: Logger, stop: AbortSignal): Promise<void> {
  const knownServers = await serversFrom(configuration);
  const { address } = knownServers;
  const connect = (name: string) => connectRedis(address, { name: `master:${name}`, logger });
  const tls = {
    cert: await readFile(configuration.rapi.certificateFile),
    key: await readFile(configuration.rapi.keyFile),
  };
  let shown: TlsIdentity = tls;
  let leadership: Leadership | undefined;
  const guard = await RedisGuard.open({ address, stateDir: configuration.stateDir, logger });
  const registry = createMetricsRegistry(configuration.metrics);
  const readiness = () => readinessOf(guard, leadership);
  const metricsServer = await tryMetricsServer(configuration.metrics, { registry, readiness, logger });
  const standIn = await untilTrusted(guard, { ...configuration.rapi, tls }, stop);
  if (stop.aborted) return await guard.close();
  const configStore = await RedisConfigStore.open({ address, name: "master", logger });
  const notes = new RedisLeaderNotes(connect("notes"));
  // No write of this process counts before it is known how many replicas have to have it.
  await patiently(() => knownServers.read(notes), { forMs: NOTES_PATIENCE_MS, signal: stop });
  void knownServers.follow(notes, logger, stop);
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "master",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  const ledger = new RedisJobLedger({ address, name: "master", wakeQueue: queue, logger });
  const locks = new RedisLockManager(connect("locks"), { patienceMs: Number.POSITIVE_INFINITY });
  const election = new RedisLeaderElection(connect("election"), {
    holder: configuration.nodeName,
    leaseMs: configuration.leaseMs,
    contact: () => contactText({ ...rapiPlace(), certificate: shown.cert.toString() }),
  });
  const { watcher, automaticFailover } = configuration;
  const live = new MemoryLiveState();
  const current = () => (leadership?.lost.aborted === false ? { epoch: leadership.epoch } : undefined);
  const metricsRedis = connect("metrics");
  const metrics = new MasterMetrics(registry, {
    ledger,
    locks,
    view: () => configStore.view,
    epoch: () => current()?.epoch,
    silenceMs: (node) => live.silenceMs(node),
    pingRedis: () => metricsRedis.ping(),
    clock: Date.now,
  });
  const secrets = new SecretVault();
  const authority = await ClusterAuthority.open(configuration.caDir, logger);
  const identity = await MasterIdentity.open({ authority, ...ownIdentities(configuration), logger });
  const nodeCertificates = new NodeCertificates({
    authority,
    identity,
    masters: async () => {
      const { masters: all } = await masters.survey();
      return all.map((each) => (each.name === configuration.nodeName ? { ...each, certificates: inUse() } : each));
    },
  });
  const serversRedis = connect("servers");
  const ownServers = ownServersOf(configuration, { secrets: address, redis: serversRedis, logger });
  void ownServers?.keep(stop);
  void keepMasterIdentity({ identity, ownServers, configStore, logger }, stop);
  const inUse = () => (ownServers === undefined ? certificatesInUse(identity.live.identity) : ownServers.inUse);
  const certificates = [
    ...[IDENTITY_FILES.cert, IDENTITY_FILES.ca].map((file) => path.join(configuration.identityDir, file)),
    configuration.rapi.certificateFile,
  ];
  const connectAgent = ({ name, address: agent }: AgentTarget) =>
    createNodeClient({
      nodeName: name,
      address: agent,
      identity: identity.live,
      onCallEnd: (call) => metrics.callEnded(call),
      onCertificate: (certificate) => nodeCertificates.saw(name, certificate),
    });
  const nodes = new NodeDirectory({ view: () => configStore.view, connect: connectAgent });
  const nodeWatcher = new NodeWatcher({ live, node: (uuid) => nodes.client(uuid), logger });
  configStore.onChange((view) => {
    nodes.refresh(view);
    nodeWatcher.follow(view);
    // Where there are replicas a change may be seen before they have it; the guard itself looks for what they have.
    if (address.replication?.replicas === 0) guard.saw({ configurationSerial: view.serial });
  });
  const { nodeName } = configuration;
  const rapiPlace = () => rapiPlaceOf(configuration, configStore.view);
  const masters = new Masters({
    roster: new MasterRoster(connect("roster")),
    election,
    self: nodeName,
    tell: () => ({
      address: hostAndPort(rapiPlace()),
      version: GANNET_VERSION,
      serial: configStore.view.serial,
      certificates: inUse(),
      servers: configuration.servers,
    }),
    logger,
  });
  void masters.keepAnnouncing(stop);

  const { whenUnwritable } = configuration.rapi.audit;
  const audit = await AuditLog.open({ file: auditFile(configuration), whenUnwritable, logger });
  const submit: JobLedger["submit"] = async (jobs, key) => {
    await guard.admit();
    if (current() === undefined && carriesSecrets(jobs))
      throw new Unavailable("Jobs with secret OS parameters are taken by the leader only, and this is a standby");
    const ids = await secrets.submit(jobs, (stored) => ledger.submit(stored, key));
    guard.saw({ lastJob: ids.at(-1) ?? 0 });
    return ids;
  };
  const rapi = await createRapiServer(
    {
      configStore,
      leader: { current },
      forwarding: new LeaderForwarding({ election, self: nodeName, ca: () => identity.live.identity.ca }),
      masters,
      ledger,
      submit,
      joining: new Joining({
        tokens: new RedisJoinTokens(connect("join-tokens")),
        certificates: nodeCertificates,
        configStore,
        ledger,
        submit,
        masterSecrets: () => masterSecrets(configuration, knownServers.redis),
        now: () => Date.now() / 1000,
        logger,
      }),
      joinTls: () => identity.joinTls,
      locks,
      liveState: live,
      notes,
      watcher,
      automaticFailover,
      implemented: new Set(LOGICAL_UNITS.keys()),
      unavailable: unavailableIn,
      logger,
      usersFile: configuration.rapi.usersFile,
      audit,
      onRequestEnd: (end) => metrics.requestEnded(end),
      tls,
      console: (name) => instanceConsole(name, { view: configStore.view, live, nodes }),
      exportsOn: async (node) => (await nodes.client(node).transfers.listExports({})).instanceNames,
      refusal: () => guard.refusal,
      clock: Date.now,
    },
    { ...configuration.rapi, loginLimits: loginLimits(configuration), standIn },
  );
  const showAnother = (changed: TlsIdentity) => {
    shown = changed;
    rapi.setTls(changed);
  };
  const tlsFiles = new TlsFiles({ ...configuration.rapi, logger, onChange: showAnother }, tls);
  tlsFiles.start();
  MANAGER.ready();
  process.on("SIGHUP", () => {
    void audit.reopen();
    void tlsFiles.refresh();
  });

  while (!stop.aborted) {
    try {
      const trust = await guard.trusted(stop);
      nodeWatcher.follow(configStore.view);
      {
        using mayLead = await eligible(configStore, nodeName, stop);
        leadership = await election.campaign(AbortSignal.any([stop, trust, mayLead]));
      }
      await lead(
        {
          leadership,
          trust,
          guard,
          ledger,
          locks,
          configStore,
          live,
          node: (uuid) => nodes.client(uuid),
          nodeWatcher,
          connectAgent,
          masterCertificates: () => Promise.all(certificates.map(certificateValidity)),
          certificates: nodeCertificates,
          domainSecret: () => readDomainSecret(domainSecretFile(configuration)),
          logger,
          queue,
          units: LOGICAL_UNITS,
          secrets,
          notes,
          watcher,
          automaticFailover,
          nodeName,
          masters,
          knownServers,
          serversRedis,
          onOpcodeEnd: (end) => metrics.opcodeEnded(end),
        },
        stop,
      );
    } catch (error) {
      if (stop.aborted) break;
      logger.error({ err: error }, "a term of leadership ended badly; standing again");
    } finally {
      leadership = undefined;
    }
    await delay(CANDIDACY_PAUSE_MS, undefined, { signal: stop }).catch(() => undefined);
  }

  await metricsServer?.stop();
  metrics.close();
  metricsRedis.disconnect();
  serversRedis.disconnect();
  tlsFiles.stop();
  await rapi.stop();
  await audit.close();
  await nodeWatcher.stop();
  nodes.close();
  await ledger.close();
  await queue.close();
  await configStore.close();
  await guard.close();
  logger.info("stopped");
}

/** What waits for a Redis that does not come back would wait for ever. The next leader takes it up. */
function giveUpStopping(logger: Logger): never {
  logger.warn("stopped in the middle of work that waits for Redis; the next leader undoes and ends it");
  process.exit(exitCodeOf(new Unavailable("")));
}

/**
 * Wait until Redis is there and has all its data; clients are told what is waited for.
 * @returns what tells them, until the remote API takes its place; undefined where it was not needed
 */
async function untilTrusted(
  guard: RedisGuard,
  rapi: { readonly host: string; readonly port: number; readonly tls: TlsIdentity },
  stop: AbortSignal,
): Promise<RefusingServer | undefined> {
  const soon = AbortSignal.any([stop, AbortSignal.timeout(START_PATIENCE_MS)]);
  if (await isTrusted(guard, soon)) return undefined;
  let isReached = false;
  const reason = () =>
    guard.refusal ??
    new Unavailable(isReached ? "The master is starting" : "The master waits for Redis, which is not reachable");
  const server = await createRefusingServer({ ...rapi, reason });
  MANAGER.ready();
  isReached = await isTrusted(guard, stop);
  return server;
}

function isTrusted(guard: RedisGuard, signal: AbortSignal): Promise<boolean> {
  return guard.trusted(signal).then(
    () => true,
    () => false,
  );
}

async function serversFrom(configuration: MasterConfiguration): Promise<KnownServers> {
  const text = async (file: string | undefined) =>
    file === undefined ? undefined : (await readFile(file, "utf8")).trim();
  const password = await text(configuration.redisPasswordFile);
  const ca = await text(configuration.redisCaFile);
  const cert = await text(configuration.redisCertificateFile);
  const key = await text(configuration.redisKeyFile);
  const address = parseRedisAddress(configuration.redis, {
    ...(password === undefined ? {} : { password }),
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined || key === undefined ? {} : { certificate: { cert, key } }),
    current: redisClientTls(configuration),
  });
  const { redisReplicasToWait: replicas, redisWaitMs: timeoutMs } = configuration;
  return new KnownServers(configuration.redis, address, { replicas, timeoutMs });
}

/** Undefined where this machine has none, or somebody else looks after their certificates. */
function ownServersOf(
  { redisTlsDir: tlsDir, servers, nodeName: holder }: MasterConfiguration,
  { secrets, redis, logger }: { readonly secrets: RedisSecrets; readonly redis: Redis; readonly logger: Logger },
): OwnServers | undefined {
  if (tlsDir === undefined || servers === undefined) return undefined;
  const turn = new MastersTurn(redis, { name: "certificates", holder });
  return new OwnServers({ tlsDir, servers, secrets, turn, logger });
}

main().then(
  // Connections that belong to nobody any more must not keep the process from ending.
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof GannetError ? `gannet-master: ${error.message}` : error);
    process.exit(exitCodeOf(error));
  },
);

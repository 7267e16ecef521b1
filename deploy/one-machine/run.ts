/**
 * `make run`: a whole cluster on one machine, in the foreground. Redis, a master and some node agents run as
 * children, each started again when it ends; a stop powers the guests off and the next start brings them back.
 */
import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createServer } from "node:net";
import path from "node:path";
import { initialiseConfiguration, RedisConfigStore } from "@gannet/config-store";
import { ConfigurationConflict, exitCodeOf, GannetError, OpPrereqError } from "@gannet/errors";
import { createCommandRunner, holdFolder } from "@gannet/exec";
import { RedisLeaderElection } from "@gannet/locking";
import { IDENTITY_FILES } from "@gannet/pki";
import { connectRedis, type EmbeddedRedis, type RedisAddress, startEmbeddedRedis } from "@gannet/redis";
import { createLogger, type Logger } from "@gannet/telemetry";
import {
  ensureDomainSecret,
  ensureIdentities,
  ensurePorts,
  writeAgentConfiguration,
  writeMasterConfiguration,
} from "./cluster-files.ts";
import { adminCredentials, ensureUsersFile } from "./credentials.ts";
import { AGENT_LAUNCH, Daemon, runService } from "./daemon.ts";
import { bridgeName, makeGuestNetwork } from "./guest-network.ts";
import { type ClusterPlan, initialRows, missingNodes } from "./initial-configuration.ts";
import { type Layout, layoutOf } from "./layout.ts";
import { RapiSession } from "./rapi-session.ts";
import { type Settings, settingsFrom } from "./settings.ts";
import { hasSimulatedStorage, simulateStorage, VOLUME_GROUP } from "./simulated-storage.ts";

const SERVICES = path.resolve(import.meta.dirname, "../../services");
const USABLE_TIMEOUT_MS = 60_000;
const GUEST_STOP_TIMEOUT_MS = 20_000;
/** A leader that was killed keeps its lease for some seconds. */
const ELECTION_TIMEOUT_MS = 30_000;

async function main(): Promise<void> {
  const settings = settingsFrom(process.env);
  const logger = await createLogger({ name: "one-machine", format: settings.logFormat });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop.abort());
  const layout = layoutOf(settings.stateDir, settings.nodeCount);
  for (const dir of [
    layout.stateDir,
    layout.runDir,
    layout.rapiDir,
    layout.osDir,
    layout.hooksDir,
    layout.scriptsDir,
    layout.allocatorsDir,
  ])
    await mkdir(dir, { recursive: true, mode: 0o700 });
  const release = await holdFolder(layout.stateDir, "one-machine cluster");

  await refuseTakenPort(settings.rapiPort);
  const isSimulated = hasSimulatedStorage(layout, settings);
  const runner = createCommandRunner({ logger });
  const network = await makeGuestNetwork(settings.stateDir, runner, logger);
  const daemons: Daemon[] = [];
  try {
    await ensureIdentities(layout);
    await ensureDomainSecret(layout);
    const ports = await ensurePorts(layout);
    const credentials = await adminCredentials(layout.credentialsFile);
    await ensureUsersFile(layout.usersFile, credentials);
    await writeMasterConfiguration(layout, settings);
    for (const node of layout.nodes)
      await writeAgentConfiguration(layout, node, settings, {
        port: ports.get(node.id) ?? 0,
        userNetworking: network.bridge === undefined,
        storageTools: isSimulated ? await simulateStorage(layout, node) : undefined,
      });

    await startDaemon(daemons, "redis", layout, logger, async () => redisRun(await startRedis(layout, logger)));
    await ensureCluster(planOf(layout, settings, ports), logger);
    for (const node of layout.nodes)
      await startDaemon(daemons, node.id, layout, logger, () =>
        runService(service("node-agent"), node.configFile, AGENT_LAUNCH),
      );
    await startDaemon(daemons, "master", layout, logger, () => runService(service("master"), layout.masterConfigFile));

    const ca = await readFile(path.join(layout.rapiIdentityDir, IDENTITY_FILES.ca));
    const rapi = new RapiSession({ port: settings.rapiPort, credentials, ca });
    await rapi.usable(USABLE_TIMEOUT_MS, stop.signal);
    await rapi.resumeGuests(logger);
    console.log(`gannet ready: https://127.0.0.1:${settings.rapiPort} credentials: ${layout.credentialsFile}`);
    await aborted(stop.signal);
    await stopGuests(rapi, logger);
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    for (const daemon of daemons.reverse()) await daemon.stop();
    await network.remove();
    release();
  }
}

/** Told at once: the master, which is started again whenever it ends, would only say so in its log. */
async function refuseTakenPort(port: number): Promise<void> {
  const server = createServer().listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new OpPrereqError(
      `GANNET_RAPI_PORT: 127.0.0.1:${port} cannot be listened on (${(cause as NodeJS.ErrnoException).code}); choose another port`,
      "environment_error",
      { cause },
    );
  }
  server.close();
}

function service(name: string): string {
  return path.join(SERVICES, name, "src/main.ts");
}

async function startDaemon(
  daemons: Daemon[],
  name: string,
  layout: Layout,
  logger: Logger,
  start: ConstructorParameters<typeof Daemon>[0]["start"],
): Promise<void> {
  const daemon = new Daemon({ name, pidFile: path.join(layout.runDir, `${name}.pid`), start, logger });
  await daemon.start();
  daemons.push(daemon);
}

function startRedis(layout: Layout, logger: Logger): Promise<EmbeddedRedis> {
  return startEmbeddedRedis({ directory: layout.redisDir, socketPath: layout.redisSocket, logger });
}

function redisRun(redis: EmbeddedRedis) {
  return { pid: redis.pid, exited: redis.exited, stop: () => redis.stop() };
}

function planOf(layout: Layout, settings: Settings, ports: ReadonlyMap<string, number>): ClusterPlan {
  const isSimulated = hasSimulatedStorage(layout, settings);
  return {
    ...{ layout, ports, hypervisors: settings.hypervisors, bridge: bridgeName(settings.stateDir) },
    ...(isSimulated
      ? { diskTemplates: ["plain", "drbd", "file", "sharedfile", "diskless"], volumeGroup: VOLUME_GROUP }
      : { diskTemplates: ["file", "diskless", "sharedfile"] }),
  };
}

/** A new cluster's configuration at the first start; nodes that are new at a later one. */
async function ensureCluster(plan: ClusterPlan, logger: Logger): Promise<void> {
  const address = { kind: "socket", path: plan.layout.redisSocket } as const;
  const redis = connectRedis(address, { name: "one-machine" });
  try {
    await initialiseConfiguration(redis, initialRows(plan));
    return;
  } catch (error) {
    if (!(error instanceof ConfigurationConflict)) throw error;
  } finally {
    redis.disconnect();
  }
  await addMissingNodes(address, plan, logger);
}

async function addMissingNodes(address: RedisAddress, plan: ClusterPlan, logger: Logger): Promise<void> {
  const store = await RedisConfigStore.open({ address, name: "one-machine", logger });
  const redis = connectRedis(address, { name: "one-machine:election" });
  try {
    if (missingNodes(store.view, plan).length === 0) return;
    const election = new RedisLeaderElection(redis, { holder: "one-machine" });
    const leadership = await election.campaign(AbortSignal.timeout(ELECTION_TIMEOUT_MS));
    await store.commit((view) => missingNodes(view, plan), { epoch: leadership.epoch });
    await leadership.resign();
  } finally {
    redis.disconnect();
    await store.close();
  }
}

/** Bounded: a master that does not answer must not keep the stop from going on. */
async function stopGuests(rapi: RapiSession, logger: Logger): Promise<void> {
  const late = new Promise<never>((_resolve, reject) => {
    setTimeout(() => reject(new Error("it took too long")), GUEST_STOP_TIMEOUT_MS).unref();
  });
  await Promise.race([rapi.stopGuests(logger), late]).catch((error: unknown) => {
    logger.warn({ err: error }, "not all guests could be stopped in order");
  });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

main().catch((error: unknown) => {
  console.error(error instanceof GannetError ? error.message : error);
  process.exitCode = exitCodeOf(error);
});

/** The master daemon: the only place where its parts are put together. */
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { RedisConfigStore } from "@gannet/config-store";
import { exitCodeOf, GannetError, OpPrereqError } from "@gannet/errors";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { RedisLeaderElection, RedisLockManager } from "@gannet/locking";
import { loadIdentity } from "@gannet/pki";
import { connectRedis, parseRedisAddress, type RedisAddress } from "@gannet/redis";
import { createNodeClient } from "@gannet/rpc";
import { createLogger, type Logger } from "@gannet/telemetry";
import { type MasterConfiguration, readConfiguration } from "./configuration.ts";
import { SecretVault } from "./executor/secret-vault.ts";
import { MemoryLiveState } from "./live-state/live-state.ts";
import { LOGICAL_UNITS } from "./logical-units/registry.ts";
import { instanceConsole } from "./nodes/instance-console.ts";
import { NodeDirectory } from "./nodes/node-directory.ts";
import { createRapiServer } from "./rapi/rapi-server.ts";
import { lead } from "./term.ts";

/** Between the end of one term and the next candidacy. */
const CANDIDACY_PAUSE_MS = 500;

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: "string" } } });
  if (values.config === undefined) throw new OpPrereqError("usage: main.ts --config FILE", "wrong_input");
  const configuration = await readConfiguration(values.config);
  const logger = await createLogger({ name: "master", level: configuration.logLevel, format: configuration.logFormat });
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  await serve(configuration, logger, stop.signal);
}

/** Everything from the first connection to the last, until `stop` is aborted. */
async function serve(configuration: MasterConfiguration, logger: Logger, stop: AbortSignal): Promise<void> {
  const address = await redisAddress(configuration);
  const connect = (name: string) => connectRedis(address, { name: `master:${name}`, logger });
  const configStore = await RedisConfigStore.open({ address, name: "master", logger });
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "master",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  const ledger = new RedisJobLedger({ address, name: "master", wakeQueue: queue, logger });
  const locks = new RedisLockManager(connect("locks"));
  const election = new RedisLeaderElection(connect("election"), {
    holder: configuration.nodeName,
    leaseMs: configuration.leaseMs,
  });
  const live = new MemoryLiveState();
  const secrets = new SecretVault();
  const identity = await loadIdentity(configuration.identityDir);
  const nodes = new NodeDirectory({
    view: () => configStore.view,
    connect: ({ name, address: agent }) => createNodeClient({ nodeName: name, address: agent, identity }),
  });
  configStore.onChange((view) => nodes.refresh(view));

  const rapi = await createRapiServer(
    {
      configStore,
      ledger: {
        submit: (jobs) => secrets.submit(jobs, (stored) => ledger.submit(stored)),
        get: (id) => ledger.get(id),
        list: (query) => ledger.list(query),
        ids: (query) => ledger.ids(query),
        cancel: (id) => ledger.cancel(id),
        onChange: (listener) => ledger.onChange(listener),
      },
      liveState: live,
      implemented: new Set(LOGICAL_UNITS.keys()),
      logger,
      usersFile: configuration.rapi.usersFile,
      tls: {
        cert: await readFile(configuration.rapi.certificateFile),
        key: await readFile(configuration.rapi.keyFile),
      },
      console: (name) => instanceConsole(name, { view: configStore.view, live, nodes }),
      clock: Date.now,
    },
    configuration.rapi,
  );

  while (!stop.aborted) {
    try {
      const leadership = await election.campaign(stop);
      await lead(
        {
          leadership,
          ledger,
          locks,
          configStore,
          live,
          node: (uuid) => nodes.client(uuid),
          logger,
          queue,
          units: LOGICAL_UNITS,
          secrets,
        },
        stop,
      );
    } catch (error) {
      if (stop.aborted) break;
      logger.error({ err: error }, "a term of leadership ended badly; standing again");
    }
    await delay(CANDIDACY_PAUSE_MS, undefined, { signal: stop }).catch(() => undefined);
  }

  await rapi.stop();
  nodes.close();
  await ledger.close();
  await queue.close();
  await configStore.close();
  logger.info("stopped");
}

async function redisAddress(configuration: MasterConfiguration): Promise<RedisAddress> {
  const text = async (file: string | undefined) =>
    file === undefined ? undefined : (await readFile(file, "utf8")).trim();
  const password = await text(configuration.redisPasswordFile);
  const ca = await text(configuration.redisCaFile);
  return parseRedisAddress(configuration.redis, {
    ...(password === undefined ? {} : { password }),
    ...(ca === undefined ? {} : { ca }),
  });
}

main().then(
  // Connections that belong to nobody any more must not keep the process from ending.
  () => process.exit(0),
  (error: unknown) => {
    console.error(error instanceof GannetError ? `gannet-master: ${error.message}` : error);
    process.exit(exitCodeOf(error));
  },
);

/** The cluster of the lab: agents in the nodes' machines, and Redis and a master beside them. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { initialiseConfiguration } from "@gannet/config-store";
import type { DiskTemplate, HypervisorName } from "@gannet/objects";
import { connectRedis, type EmbeddedRedis, startEmbeddedRedis } from "@gannet/redis";
import type { Logger } from "@gannet/telemetry";
import { ensureIdentities, writeMasterConfiguration } from "../../deploy/one-machine/cluster-files.ts";
import { adminCredentials, ensureUsersFile } from "../../deploy/one-machine/credentials.ts";
import { type Run, runService } from "../../deploy/one-machine/daemon.ts";
import { initialRows } from "../../deploy/one-machine/initial-configuration.ts";
import { RapiClient } from "../rapi-client.ts";
import { AGENT_PORT, type LabPlan, NODE_BRIDGE, REPOSITORY, VOLUME_GROUP } from "./plan.ts";

/** Free in the lab's own network namespace, where nobody else listens. */
const RAPI_PORT = 5080;
const MASTER = path.join(REPOSITORY, "services/master/src/main.ts");

export interface LabClusterOptions {
  readonly plan: LabPlan;
  /** The first is the default of new instances. */
  readonly hypervisors: readonly HypervisorName[];
  readonly diskTemplates: readonly DiskTemplate[];
  readonly logger: Logger;
}

export class LabCluster {
  readonly rapi: RapiClient;
  readonly #redis: EmbeddedRedis;
  readonly #master: Run;

  private constructor(fields: { rapi: RapiClient; redis: EmbeddedRedis; master: Run }) {
    this.rapi = fields.rapi;
    this.#redis = fields.redis;
    this.#master = fields.master;
  }

  /** Certificates of all daemons; before the nodes start. */
  static async makeIdentities({ plan }: Pick<LabClusterOptions, "plan">): Promise<void> {
    await ensureIdentities(plan.layout);
  }

  /** Start Redis and the master, which looks for the agents by itself. */
  static async start(options: LabClusterOptions): Promise<LabCluster> {
    const { layout } = options.plan;
    const credentials = await adminCredentials(layout.credentialsFile);
    await ensureUsersFile(layout.usersFile, credentials);
    await mkdir(layout.runDir, { recursive: true, mode: 0o700 });
    await writeMasterConfiguration(layout, { rapiPort: RAPI_PORT, logFormat: "json", watcher: "off" });
    const redis = await startEmbeddedRedis({
      directory: layout.redisDir,
      socketPath: layout.redisSocket,
      logger: options.logger,
    });
    await storeConfiguration(options);
    const master = await runService(MASTER, layout.masterConfigFile, { logFile: path.join(layout.masterDir, "log") });
    return new LabCluster({ rapi: new RapiClient({ port: RAPI_PORT, ...credentials }), redis, master });
  }

  async stop(): Promise<void> {
    await this.#master.stop();
    await this.#redis.stop();
  }
}

async function storeConfiguration({ plan, hypervisors, diskTemplates }: LabClusterOptions): Promise<void> {
  const rows = initialRows({
    layout: plan.layout,
    hypervisors,
    diskTemplates,
    bridge: NODE_BRIDGE,
    ports: new Map(plan.nodes.map(({ id }) => [id, AGENT_PORT])),
  });
  const redis = connectRedis({ kind: "socket", path: plan.layout.redisSocket }, { name: "lab" });
  try {
    await initialiseConfiguration(redis, {
      ...rows,
      cluster: { ...rows.cluster, volumeGroupName: VOLUME_GROUP },
    });
  } finally {
    redis.disconnect();
  }
}

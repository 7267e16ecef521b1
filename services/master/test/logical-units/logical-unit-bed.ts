/** The executor with every logical unit, over a real Redis and scripted nodes: a job goes in, its end comes out. */
import { type ConfigChange, type ConfigRows, initialiseConfiguration, RedisConfigStore } from "@gannet/config-store";
import { BullWakeQueue, type Job, type JobId, RedisJobLedger } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import type { Cluster, ConfigView, Disk, Instance, Node, NodeUuid } from "@gannet/objects";
import { parseOpcode, wireOpcode } from "@gannet/opcodes";
import type { CertificateValidity } from "@gannet/pki";
import { EPOCH_KEY } from "@gannet/redis";
import { type Logger, silentLogger } from "@gannet/telemetry";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import { vi } from "vitest";
import { Executor } from "../../src/executor/executor.ts";
import { SecretVault } from "../../src/executor/secret-vault.ts";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { nodeRow, smallCluster, snapshot } from "../rapi/cluster-fixture.ts";
import { ScriptedNodes } from "./scripted-nodes.ts";

export const NODES = ["node1.gnt.test", "node2.gnt.test", "node3.gnt.test"] as const;
export const DOMAIN_SECRET = "a secret of both clusters";
const EPOCH = 1;

export interface LogicalUnitBed extends AsyncDisposable {
  readonly nodes: ScriptedNodes;
  readonly redis: TestRedis;
  readonly live: MemoryLiveState;
  readonly ledger: RedisJobLedger;
  readonly configStore: RedisConfigStore;
  readonly locks: RedisLockManager;
  readonly secrets: SecretVault;
  /** Those that the master shows. */
  readonly certificates: CertificateValidity[];
  readonly view: ConfigView;
  /** Submit one opcode and wait for the job's end. */
  run(id: string, params: Readonly<Record<string, unknown>>): Promise<FinishedJob>;
  /** @throws Error with its result when the job does not succeed */
  succeed(id: string, params: Readonly<Record<string, unknown>>): Promise<FinishedJob>;
  /** Change the configuration as no operation would. */
  commit(change: (view: ConfigView) => readonly ConfigChange[]): Promise<void>;
  /** Wait for the end of a job that another one has submitted. */
  ended(job: JobId): Promise<Job>;
  setCluster(change: Partial<Cluster>): Promise<void>;
  setNode(name: string, change: Partial<Node>): Promise<void>;
  instance(name: string): Instance;
  disks(name: string): readonly Disk[];
  uuidOf(node: string): NodeUuid;
  /** All texts in Redis that are not the configuration: jobs, logs, undo lists, locks. */
  ledgerText(): Promise<string>;
}

export interface FinishedJob {
  readonly status: Job["status"];
  readonly result: unknown;
  /** Texts of the job's log. */
  readonly log: readonly string[];
}

export async function startLogicalUnitBed(
  cluster: Partial<Cluster> = {},
  { logger = silentLogger() }: { readonly logger?: Logger } = {},
): Promise<LogicalUnitBed> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startTestRedis());
  const { address, client } = redis;
  await client.set(EPOCH_KEY, EPOCH);
  const rows = clusterRows(cluster);
  await initialiseConfiguration(client, rows);
  const configStore = await RedisConfigStore.open({ address, name: "test", logger });
  stack.defer(() => configStore.close());
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "test",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  stack.defer(() => queue.close());
  const ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
  stack.defer(() => ledger.close());

  const nodes = new ScriptedNodes();
  const live = new MemoryLiveState();
  for (const [position, { uuid, name, secondaryIp }] of rows.nodes.entries()) {
    nodes.add(uuid, name, secondaryIp);
    live.apply(uuid, snapshot(NODES[position] ?? name));
  }
  const lost = new AbortController();
  const secrets = new SecretVault();
  const locks = new RedisLockManager(client);
  const certificates: CertificateValidity[] = [];
  const executor = new Executor({
    ledger,
    queue,
    configStore,
    locks,
    live,
    node: (uuid) => nodes.client(uuid),
    connectAgent: ({ name }) => nodes.named(name).client,
    masterCertificates: async () => certificates,
    domainSecret: async () => DOMAIN_SECRET,
    units: LOGICAL_UNITS,
    secrets,
    fence: { epoch: EPOCH },
    lost: lost.signal,
    logger,
  });
  await executor.start();
  stack.defer(() => executor.stop());
  const fence = { epoch: EPOCH };
  const parts = stack.move();

  const ended = (id: JobId): Promise<Job> =>
    vi.waitFor(
      async () => {
        const job = await ledger.get(id);
        if (job === undefined || !["success", "error"].includes(job.status)) throw new Error(`job ${id} goes on`);
        return job;
      },
      { timeout: 30_000, interval: 5 },
    );

  const run = async (id: string, params: Readonly<Record<string, unknown>>): Promise<FinishedJob> => {
    const { declaration, op } = parseOpcode({ OP_ID: id, ...params });
    const opcodes = [{ input: wireOpcode(declaration, op), summary: id }];
    const [job = 0] = await secrets.submit([{ requester: "tester", opcodes }], (stored) => ledger.submit(stored));
    const { status, opcodes: ran } = await ended(job);
    const [opcode] = ran;
    return { status, result: opcode?.result, log: (opcode?.log ?? []).map(([, , , payload]) => String(payload)) };
  };

  const instance = (name: string): Instance => {
    const found = configStore.view.findInstance(name);
    if (found === undefined) throw new Error(`there is no instance ${name}`);
    return found;
  };

  return {
    nodes,
    live,
    redis,
    ledger,
    configStore,
    locks,
    secrets,
    certificates,
    run,
    ended,
    instance,
    disks: (name) => configStore.view.disksOf(instance(name)),
    get view() {
      return configStore.view;
    },
    async succeed(id, params) {
      const job = await run(id, params);
      if (job.status === "success") return job;
      throw new Error(`${id} failed: ${JSON.stringify(job.result)}\n${job.log.join("\n")}`);
    },
    async commit(change) {
      await configStore.commit(change, fence);
    },
    async setCluster(change) {
      await configStore.commit((view) => [{ kind: "cluster", put: { ...view.cluster, ...change } }], fence);
    },
    async setNode(name, change) {
      await configStore.commit((view) => {
        const row = view.findNode(name);
        return row === undefined ? [] : [{ kind: "node", put: { ...row, ...change } }];
      }, fence);
    },
    uuidOf(node) {
      const row = configStore.view.findNode(node);
      if (row === undefined) throw new Error(`there is no node ${node}`);
      return row.uuid;
    },
    ledgerText: () => textOf(redis),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

function clusterRows(cluster: Partial<Cluster>): ConfigRows & Required<Pick<ConfigRows, "nodes">> {
  const { cluster: standard, groups } = smallCluster();
  const nodes = NODES.map((name, position) =>
    nodeRow(name, { primaryIp: `192.0.2.${position + 1}`, secondaryIp: `198.51.100.${position + 1}` }),
  );
  const enabledDiskTemplates = ["plain", "drbd", "file", "sharedfile", "blockdev", "rbd", "ext", "gluster", "diskless"];
  return {
    groups,
    nodes,
    instances: [],
    cluster: {
      ...standard,
      volumeGroupName: "xenvg",
      enabledDiskTemplates: enabledDiskTemplates as Cluster["enabledDiskTemplates"],
      ...cluster,
    },
  };
}

async function textOf({ client }: TestRedis): Promise<string> {
  const keys = (await client.keys("*")).filter((key) => !key.includes("config"));
  const texts = await Promise.all(
    keys.map(async (key) => {
      switch (await client.type(key)) {
        case "hash":
          return JSON.stringify(await client.hgetall(key));
        case "list":
          return JSON.stringify(await client.lrange(key, 0, -1));
        case "zset":
          return JSON.stringify(await client.zrange(key, "0", "-1"));
        case "set":
          return JSON.stringify(await client.smembers(key));
        case "stream":
          return JSON.stringify(await client.xrange(key, "-", "+"));
        default:
          return JSON.stringify(await client.get(key));
      }
    }),
  );
  return texts.join("\n");
}

/**
 * The executor as it runs in the master, over a real Redis, with jobs that run until the test lets them end. A job's
 * `on_nodes` are the names of the locks that it holds exclusively.
 */
import { initialiseConfiguration, RedisConfigStore } from "@gannet/config-store";
import { BullWakeQueue, type Job, type JobId, RedisJobLedger, type WakeQueue } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import type { Cluster, FilterRule } from "@gannet/objects";
import { TestDelay } from "@gannet/opcodes";
import { EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { startTestRedis } from "@gannet/testing";
import { expect, vi } from "vitest";
import { Executor } from "../../src/executor/executor.ts";
import { exclusive } from "../../src/executor/lock-wishes.ts";
import { implement, type LogicalUnit } from "../../src/executor/logical-unit.ts";
import { SecretVault } from "../../src/executor/secret-vault.ts";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import { smallCluster } from "../rapi/cluster-fixture.ts";

export interface OpcodeSketch {
  readonly locks?: readonly string[];
  readonly priority?: -10 | 0 | 10;
  readonly comment?: string;
  readonly depends?: readonly (readonly [id: JobId, statuses: readonly string[]])[];
  /** Texts of the reason trail. */
  readonly reason?: readonly string[];
}

export interface ExecutorTestbed extends AsyncDisposable {
  readonly ledger: RedisJobLedger;
  readonly locks: RedisLockManager;
  readonly configStore: RedisConfigStore;
  /** Jobs whose opcode runs now. */
  readonly running: ReadonlySet<JobId>;
  /** Jobs in the order in which their opcodes began; a job of two opcodes is there twice. */
  readonly begun: readonly JobId[];
  /** How often the wake queue has delivered each job. */
  readonly deliveries: ReadonlyMap<JobId, number>;
  /** Jobs that are to be delivered and are not yet, in order. */
  readonly queued: readonly JobId[];
  /** How often the wake queue has looked for jobs that it lost. */
  readonly sweeps: number;
  /** A job of one opcode for each sketch. */
  submit(...opcodes: readonly OpcodeSketch[]): Promise<JobId>;
  /** Let the running opcode of each job end. */
  end(...ids: readonly JobId[]): void;
  statusOf(id: JobId): Promise<Job["status"] | undefined>;
  setRules(...rules: readonly FilterRule[]): Promise<void>;
  setCluster(change: Partial<Cluster>): Promise<void>;
  /** Nothing is on its way any more, and these jobs run and no others. */
  settled(running: readonly JobId[]): Promise<void>;
  /** The leader dies without a word; the next one takes over. */
  replaceLeader(): Promise<void>;
}

export async function startExecutorTestbed(cluster: Partial<Cluster> = {}): Promise<ExecutorTestbed> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startTestRedis());
  const { address, client } = redis;
  const logger = silentLogger();
  let epoch = 1;
  await client.set(EPOCH_KEY, epoch);
  const rows = smallCluster();
  await initialiseConfiguration(client, { ...rows, cluster: { ...rows.cluster, ...cluster } });
  const configStore = await RedisConfigStore.open({ address, name: "test", logger });
  stack.defer(() => configStore.close());

  const deliveries = new Map<JobId, number>();
  const waking = new Set<Promise<void>>();
  let underWay = 0;
  let sweeps = 0;
  const bull: BullWakeQueue = new BullWakeQueue({
    address,
    name: "test",
    readyJobs: () => {
      sweeps += 1;
      return ledger.readyJobs();
    },
    sweepIntervalMs: 100,
    logger,
  });
  const queue: WakeQueue = {
    wake: async (id, priority) => {
      const woken = bull.wake(id, priority);
      waking.add(woken);
      await woken;
      waking.delete(woken);
    },
    reprioritize: (id, priority) => bull.reprioritize(id, priority),
    start: (handler, options) =>
      bull.start(async (id) => {
        deliveries.set(id, (deliveries.get(id) ?? 0) + 1);
        underWay += 1;
        await handler(id).finally(() => {
          underWay -= 1;
        });
      }, options),
    setConcurrency: (concurrency) => bull.setConcurrency(concurrency),
    stop: () => bull.stop(),
    close: () => bull.close(),
  };
  stack.defer(() => bull.close());
  const ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
  stack.defer(() => ledger.close());
  const locks = new RedisLockManager(client);

  const gates = new Map<JobId, () => void>();
  const running = new Set<JobId>();
  const begun: JobId[] = [];
  const gated = implement(TestDelay, {
    locks: (op) => op.on_nodes.map((name) => exclusive.node(name)),
    checkPrereq: () => undefined,
    exec: async ({ jobId, signal }) => {
      begun.push(jobId);
      running.add(jobId);
      await new Promise<void>((resolve, reject) => {
        gates.set(jobId, resolve);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
      running.delete(jobId);
      return null;
    },
  });
  const units = new Map([[TestDelay.id, gated as unknown as LogicalUnit]]);

  const lead = async () => {
    const lost = new AbortController();
    const executor = new Executor({
      ledger,
      locks,
      configStore,
      queue,
      units,
      logger,
      live: new MemoryLiveState(),
      node: (uuid) => {
        throw new Error(`no job calls node ${uuid}`);
      },
      domainSecret: async () => "",
      connectAgent: ({ name }) => {
        throw new Error(`no job calls node ${name}`);
      },
      secrets: new SecretVault(),
      fence: { epoch },
      lost: lost.signal,
    });
    await executor.start();
    return async () => {
      lost.abort();
      running.clear();
      await executor.stop();
    };
  };
  let die = await lead();
  stack.defer(() => die());
  const resources = stack.move();

  return {
    ledger,
    locks,
    configStore,
    running,
    begun,
    deliveries,
    get queued() {
      return bull.line;
    },
    get sweeps() {
      return sweeps;
    },
    submit: async (...opcodes) => {
      const [id] = await ledger.submit([{ requester: "tester", opcodes: opcodes.map(opcode) }]);
      if (id === undefined) throw new Error("no id was answered");
      return id;
    },
    end: (...ids) => {
      for (const id of ids) {
        const open = gates.get(id);
        if (open === undefined) throw new Error(`job ${id} does not run`);
        gates.delete(id);
        open();
      }
    },
    statusOf: async (id) => (await ledger.get(id))?.status,
    setRules: async (...rules) => {
      await configStore.commit(
        ({ filters }) => [
          ...[...filters.values()]
            .filter(({ uuid }) => rules.every((rule) => rule.uuid !== uuid))
            .map((remove) => ({ kind: "filter" as const, remove })),
          ...rules.map((rule) => {
            const { serialNo = 0 } = filters.get(rule.uuid) ?? {};
            return { kind: "filter" as const, put: { ...rule, serialNo } };
          }),
        ],
        { epoch },
      );
    },
    setCluster: async (change) => {
      await configStore.commit((view) => [{ kind: "cluster", put: { ...view.cluster, ...change } }], { epoch });
    },
    settled: (expected) =>
      vi.waitFor(
        async () => {
          await Promise.all(waking);
          expect([...running].toSorted(ascending)).toEqual([...expected].toSorted(ascending));
          expect({ waiting: bull.line, underWay }).toEqual({ waiting: [], underWay: expected.length });
        },
        { timeout: 10_000, interval: 10 },
      ),
    replaceLeader: async () => {
      epoch += 1;
      await client.set(EPOCH_KEY, epoch);
      await die();
      die = await lead();
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function opcode({ locks = [], reason = [], ...params }: OpcodeSketch) {
  const trail = reason.map((text, index) => ["gnt:user", text, index]);
  return {
    input: { OP_ID: TestDelay.id, duration: 0, on_nodes: locks, reason: trail, ...params },
    summary: "TEST_DELAY(0)",
  };
}

function ascending(a: number, b: number): number {
  return a - b;
}

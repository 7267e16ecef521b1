/** No-op jobs from submit to finished, beside raw BullMQ jobs on the same Redis. */
import path from "node:path";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import { Queue, QueueEvents, Worker } from "bullmq";
import { Redis } from "ioredis";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { print, quantile } from "./figures.ts";

const ONE_BY_ONE = 200;
const AT_ONCE = 2_000;
/** The cluster's max_running_jobs: both sides run as many at a time. */
const CONCURRENCY = 20;

export async function benchJobs(cluster: OneMachineCluster): Promise<void> {
  const socket = path.join(cluster.stateDir, "redis/redis.sock");
  const raw = await rawBullMq(socket);
  const ours = await ledgerJobs(socket);
  print({
    name: "no-op job, one at a time, submit to finished, median",
    value: ours.medianMs,
    unit: "ms",
    baseline: raw.medianMs,
    ratio: ours.medianMs / raw.medianMs,
    goal: "ratio <= 5",
  });
  print({
    name: `no-op jobs, ${AT_ONCE} submitted at once`,
    value: ours.perSecond,
    unit: "jobs/s",
    baseline: raw.perSecond,
    ratio: ours.perSecond / raw.perSecond,
    goal: "ratio >= 0.25",
  });
}

interface Rates {
  readonly medianMs: number;
  readonly perSecond: number;
}

/** BullMQ as it is: a queue, a worker that does nothing, and the event by which the submitter learns of the end. */
async function rawBullMq(socket: string): Promise<Rates> {
  const name = "bench-raw";
  const connection = () => new Redis({ path: socket, maxRetriesPerRequest: null });
  const connections = [connection(), connection(), connection()] as const;
  const queue = new Queue(name, { connection: connections[0] });
  const worker = new Worker(name, () => Promise.resolve(null), {
    connection: connections[1],
    concurrency: CONCURRENCY,
  });
  const events = new QueueEvents(name, { connection: connections[2] });
  await Promise.all([worker.waitUntilReady(), events.waitUntilReady()]);
  const ends = new Ends<string>();
  events.on("completed", ({ jobId }) => ends.tell(jobId));
  const submit = async () => {
    const { id } = await queue.add("noop", {}, { removeOnComplete: true, removeOnFail: true, attempts: 1 });
    if (id !== undefined) await ends.of(id);
  };
  const rates = await measure(submit);
  await Promise.all([worker.close(), events.close(), queue.close()]);
  for (const open of connections) open.disconnect();
  return rates;
}

/** The running master's executor, fed through the ledger as its remote API feeds it. */
async function ledgerJobs(socket: string): Promise<Rates> {
  const address = { kind: "socket", path: socket } as const;
  const logger = silentLogger();
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "bench",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  const ledger = new RedisJobLedger({ address, name: "bench", wakeQueue: queue, logger });
  const { declaration, op } = parseOpcode({ OP_ID: "OP_TEST_DELAY", duration: 0 });
  const job = {
    opcodes: [{ input: { OP_ID: declaration.id, ...op }, summary: summaryOf(declaration, op) }],
    requester: "bench",
  };
  const ends = new Ends<number>();
  const unsubscribe = ledger.onChange((change) => {
    if (change.status === "error" || change.status === "canceled")
      throw new Error(`job ${change.id} ended as ${change.status}`);
    if (change.status === "success") ends.tell(change.id);
  });
  const submit = async () => {
    const [id] = await ledger.submit([job]);
    if (id !== undefined) await ends.of(id);
  };
  const rates = await measure(submit);
  unsubscribe();
  await ledger.close();
  await queue.close();
  return rates;
}

/** Ends of jobs, which may be told before anybody asks: the submitter learns a job's id after the fact. */
class Ends<Id> {
  readonly #waiting = new Map<Id, () => void>();
  readonly #early = new Set<Id>();

  tell(id: Id): void {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) this.#early.add(id);
    else waiting();
    this.#waiting.delete(id);
  }

  of(id: Id): Promise<void> {
    if (this.#early.delete(id)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }
}

/** @param one - submits a job and waits for its end */
async function measure(one: () => Promise<void>): Promise<Rates> {
  for (let warm = 0; warm < 20; warm += 1) await one();
  const times: number[] = [];
  for (let round = 0; round < ONE_BY_ONE; round += 1) {
    const start = performance.now();
    await one();
    times.push(performance.now() - start);
  }
  const start = performance.now();
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return { medianMs: quantile(times, 0.5), perSecond: AT_ONCE / ((performance.now() - start) / 1000) };
}

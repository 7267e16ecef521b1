/** A ledger on a real Redis, with the wake-ups that it asks for written down. */

import { type Fence, type FinalStatus, type JobId, type NewJob, RedisJobLedger } from "@gannet/job-ledger";
import { EPOCH_KEY } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import type { TestRedis } from "@gannet/testing";

export const FENCE = { epoch: 7 } as const;
export const STALE_FENCE = { epoch: 6 } as const;

export interface LedgerFixture {
  readonly ledger: RedisJobLedger;
  /** Ids woken and not looked at yet. */
  takeWakes(): readonly JobId[];
  readonly reprioritized: (readonly [id: JobId, priority: number])[];
  close(): Promise<void>;
}

/** Make an epoch the cluster's. */
export async function becomeLeader(server: TestRedis, { epoch }: Fence = FENCE): Promise<Fence> {
  await server.client.set(EPOCH_KEY, epoch);
  return { epoch };
}

export function openLedger(
  server: Pick<TestRedis, "address">,
  options: { readonly maxUnfinishedJobs?: number } = {},
): LedgerFixture {
  let wakes: JobId[] = [];
  const reprioritized: [JobId, number][] = [];
  const ledger = new RedisJobLedger({
    address: server.address,
    name: "ledger-under-test",
    logger: silentLogger(),
    wakeQueue: {
      wake: async (id) => void wakes.push(id),
      reprioritize: async (id, priority) => void reprioritized.push([id, priority]),
    },
    ...options,
  });
  return {
    ledger,
    reprioritized,
    takeWakes() {
      const taken = wakes;
      wakes = [];
      return taken;
    },
    close: () => ledger.close(),
  };
}

interface OpcodeSketch {
  readonly depends?: readonly (readonly [id: number, statuses: readonly FinalStatus[]])[];
  readonly priority?: number;
}

/** A job of one opcode for each sketch. */
export function newJob(...opcodes: readonly OpcodeSketch[]): NewJob {
  const sketches = opcodes.length === 0 ? [{}] : opcodes;
  return {
    requester: "tester",
    opcodes: sketches.map((sketch, index) => ({
      input: { OP_ID: "OP_TEST_DELAY", duration: index, priority: 0, depends: null, ...sketch },
      summary: `TEST_DELAY(${index})`,
    })),
  };
}

export async function submitOne(ledger: RedisJobLedger, job: NewJob = newJob()): Promise<JobId> {
  const [id] = await ledger.submit([job]);
  if (id === undefined) throw new Error("no id was answered");
  return id;
}

/** The job, which must exist. */
export async function jobOf(ledger: RedisJobLedger, id: JobId) {
  const job = await ledger.get(id);
  if (job === undefined) throw new Error(`job ${id} is gone`);
  return job;
}

export async function statusesOf(ledger: RedisJobLedger, id: JobId) {
  const { status, opcodes } = await jobOf(ledger, id);
  return [status, opcodes.map((opcode) => opcode.status)];
}

/** Bring a job to waiting: begun and parked again, so that nobody works on it and it can be begun at once. */
export async function park(ledger: RedisJobLedger, id: JobId, index = 0): Promise<void> {
  await ledger.begin(id, index, FENCE);
  await ledger.park(id, index, FENCE);
}

/** Run the opcode whose turn it is to its end. */
export async function runOpcode(ledger: RedisJobLedger, id: JobId, index: number, end: "success" | "error") {
  await ledger.begin(id, index, FENCE);
  if (end === "success") await ledger.succeed(id, index, null, FENCE);
  else await ledger.fail(id, index, ["OpExecError", ["as asked"]], FENCE);
}

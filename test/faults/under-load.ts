/** A cluster under load whose daemons are killed and frozen: the run, and what it came to in counts. */
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { leading, startFaultCluster, until } from "./fault-cluster.ts";
import { inflict, type Kill, plannedKills } from "./kills.ts";
import { Load, removal } from "./load.ts";
import { SeededRandom } from "./seeded-random.ts";
import { SubmittingClient } from "./submitting-client.ts";
import { allJobs, atRest, judge, type Verdict } from "./verdict.ts";

export interface RunOptions {
  readonly seed: number;
  readonly jobs: number;
  readonly kills: number;
  /** Told as it goes. */
  readonly progress?: (text: string) => void;
}

export interface RunResult extends Verdict {
  readonly accepted: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly refused: number;
  readonly unreachable: number;
  readonly answersLost: number;
  readonly kills: number;
  readonly seconds: number;
  /** Removals that had to be asked for again, because a fault met the first. */
  readonly removedAgain: number;
  /** What could not be removed at the end, or was left after everything was. */
  readonly leftAfterRemoval: readonly string[];
}

/** From the last fault to the end of the last job. */
const REST_TIMEOUT_MS = 90_000;

/** The whole of it. On trouble the daemons' log is kept, and the error names its file. */
export async function runUnderLoad(options: RunOptions): Promise<RunResult> {
  const startedAt = performance.now();
  const { seed, kills, progress = () => {} } = options;
  await using cluster = await startFaultCluster();
  const client = new SubmittingClient(cluster);
  const load = new Load(new SeededRandom(seed));
  const plan = plannedKills(kills, new SeededRandom(~seed));
  try {
    for (const [index, kill] of plan.entries()) {
      const share = Math.floor(((index + 1) * options.jobs) / kills) - Math.floor((index * options.jobs) / kills);
      load.learn(await instanceNames(cluster));
      await burst(cluster, client, { load, jobs: share, kill });
      progress(`${index + 1} of ${kills}: ${kill.how} ${kill.daemon}; ${client.accepted.size} jobs accepted`);
    }
    await atRest(client.ledger, REST_TIMEOUT_MS);
    // The last fault's daemon may be away still, and a removal that meets that fails.
    await leading(cluster);
    const removedAgain = await repeatFailedRemovals(client);
    const verdict = await judge(cluster, client);
    const jobs = await allJobs(client.ledger);
    const ours = jobs.filter(({ id }) => client.accepted.has(id));
    const result = {
      ...verdict,
      accepted: client.accepted.size,
      succeeded: ours.filter(({ status }) => status === "success").length,
      failed: ours.filter(({ status }) => status === "error").length,
      refused: client.refused,
      unreachable: client.unreachable,
      answersLost: client.answersLost,
      kills: plan.length,
      removedAgain,
      leftAfterRemoval: await leftAfterRemoval(cluster, client),
      seconds: Math.round((performance.now() - startedAt) / 1000),
    };
    if (findings(result).length > 0) await keepLog(cluster, seed);
    return result;
  } catch (error) {
    const file = await keepLog(cluster, seed);
    throw new Error(`seed ${seed}: ${(error as Error).message} (the daemons' log: ${file})`, { cause: error });
  } finally {
    await client.close();
  }
}

/** Submit jobs, each at its moment, and have the fault among them. */
async function burst(
  cluster: OneMachineCluster,
  client: SubmittingClient,
  { load, jobs, kill }: { readonly load: Load; readonly jobs: number; readonly kill: Kill },
): Promise<void> {
  const submitted = Promise.all(
    Array.from({ length: jobs }, async () => {
      const { job, afterMs } = load.next();
      await delay(afterMs);
      await client.submit(job);
    }),
  );
  const suffered = delay(kill.afterMs).then(() => inflict(cluster, kill));
  await Promise.all([submitted, suffered]);
}

/** A removal that dies half-way leaves the rest to the next one: what an operator would ask for again. */
async function repeatFailedRemovals(client: SubmittingClient): Promise<number> {
  const failed = (await allJobs(client.ledger)).filter(
    ({ status, opcodes: [opcode] }) => status === "error" && opcode?.input.OP_ID === "OP_INSTANCE_REMOVE",
  );
  const names = new Set(
    failed
      .filter(({ opcodes: [opcode] }) => !isRefusal(opcode?.result))
      .map(({ opcodes: [opcode] }) => String(opcode?.input.instance_name)),
  );
  await client.submitAll([...names].map(removal));
  await atRest(client.ledger, REST_TIMEOUT_MS);
  return names.size;
}

/** Refused before anything was done. */
function isRefusal(result: unknown): boolean {
  return Array.isArray(result) && result[0] === "OpPrereqError";
}

/** Remove everything, which must succeed, and look again. */
async function leftAfterRemoval(cluster: OneMachineCluster, client: SubmittingClient): Promise<readonly string[]> {
  await client.submitAll((await instanceNames(cluster)).map(removal));
  await atRest(client.ledger, REST_TIMEOUT_MS);
  const { orphans, locksLeaked } = await judge(cluster, client);
  return [...(await instanceNames(cluster)).map((name) => `instance ${name}`), ...orphans, ...locksLeaked];
}

/** Asked until the master answers. */
async function instanceNames(cluster: OneMachineCluster): Promise<readonly string[]> {
  let names: readonly string[] = [];
  await until("the master lists instances", async () => {
    const { status, body } = await cluster.rapi("GET", "/2/instances");
    if (status === 200) names = (body as { id: string }[]).map(({ id }) => id);
    return status === 200;
  });
  return names;
}

/** Everything that must not be, in words. */
export function findings(result: RunResult): readonly string[] {
  return [
    ...result.lost.map((text) => `lost: ${text}`),
    ...result.refusedButRan.map((text) => `refused but ran: ${text}`),
    ...result.ranTwice.map((text) => `ran twice: ${text}`),
    ...result.locksLeaked.map((text) => `lock leaked: ${text}`),
    ...result.orphans.map((text) => `orphan: ${text}`),
    ...result.leftAfterRemoval.map((text) => `left after removal: ${text}`),
  ];
}

/** The counts in some lines. */
export function report(seed: number, result: RunResult): string {
  return [
    `seed ${seed}: ${result.kills} faults, ${result.accepted} jobs accepted (${result.succeeded} succeeded, ${result.failed} failed), ${result.seconds} s`,
    `submits: ${result.refused} refused, ${result.unreachable} met nobody, ${result.answersLost} lost their answer`,
    `lost ${result.lost.length}, ran twice ${result.ranTwice.length}, refused but ran ${result.refusedButRan.length}, locks leaked ${result.locksLeaked.length}, orphans ${result.orphans.length}, left after removing all ${result.leftAfterRemoval.length} (removals asked for again: ${result.removedAgain})`,
  ].join("\n");
}

async function keepLog(cluster: OneMachineCluster, seed: number): Promise<string> {
  const file = path.join(tmpdir(), `gannet-faults-${seed}.log`);
  await writeFile(file, cluster.log);
  return file;
}

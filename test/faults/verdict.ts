/** What a cluster at rest must not show: lost jobs, opcodes that ran twice, locks nobody holds, orphans. */
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { RedisConfigStore } from "@gannet/config-store";
import type { Job, JobId, JobLedger } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";
import { connectRedis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import type { Execution } from "../../services/node-agent/src/rpc/execution-log.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { NODES, until } from "./fault-cluster.ts";
import type { SubmittingClient } from "./submitting-client.ts";

const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);
const PAGE = 500;
const RELEASE_TIMEOUT_MS = 10_000;

/** Each in words, so that a failed run tells what it found. */
export interface Verdict {
  readonly lost: readonly string[];
  readonly ranTwice: readonly string[];
  readonly locksLeaked: readonly string[];
  readonly orphans: readonly string[];
  /** Jobs that ran although their submission was refused. */
  readonly refusedButRan: readonly string[];
}

/** All jobs that there are, whoever submitted them. */
export async function allJobs(ledger: JobLedger): Promise<readonly Job[]> {
  const jobs: Job[] = [];
  for (const archived of [false, true])
    for (let after = 0; ; ) {
      const page = await ledger.list({ archived, after, limit: PAGE });
      jobs.push(...page);
      if (page.length < PAGE) break;
      after = page.at(-1)?.id ?? after;
    }
  return jobs;
}

/** Wait until no job is unfinished. @throws Error that names those that are */
export async function atRest(ledger: JobLedger, timeoutMs: number): Promise<void> {
  let unfinished: readonly string[] = [];
  const rest = until(
    "every job is over",
    async () => {
      const { queued, waiting, canceling, running } = await ledger.counts();
      if (queued + waiting + canceling + running === 0) return true;
      unfinished = (await allJobs(ledger))
        .filter(({ status }) => !FINAL.has(status))
        .map((job) => `job ${job.id} ${job.summary.join(", ")}: ${job.status}`);
      return false;
    },
    timeoutMs,
  );
  await rest.catch((error: Error) => {
    throw new Error(`${error.message}; still there: ${unfinished.join("; ")}`, { cause: error.cause });
  });
}

export async function judge(cluster: OneMachineCluster, client: SubmittingClient): Promise<Verdict> {
  const jobs = new Map((await allJobs(client.ledger)).map((job) => [job.id, job]));
  const view = await configuration(cluster);
  return {
    lost: lostJobs(client, jobs),
    refusedButRan: unexplainedJobs(client, jobs),
    ranTwice: executedTwice(await executions(cluster)),
    locksLeaked: await lockedAtRest(cluster),
    orphans: await orphans(cluster, view),
  };
}

function lostJobs({ accepted }: SubmittingClient, jobs: ReadonlyMap<JobId, Job>): readonly string[] {
  return [...accepted].flatMap(([id, kind]) => {
    const status = jobs.get(id)?.status;
    if (status !== undefined && FINAL.has(status)) return [];
    return [`job ${id} (${kind}) is ${status ?? "not there"}`];
  });
}

/** Jobs that nobody was told of: at most as many as answers were lost. Canceled ones have not run. */
function unexplainedJobs(client: SubmittingClient, jobs: ReadonlyMap<JobId, Job>): readonly string[] {
  const unknown = [...jobs.values()].filter(({ id, status }) => !client.accepted.has(id) && status !== "canceled");
  if (unknown.length <= client.answersLost) return [];
  return unknown.map((job) => `job ${job.id} ${job.summary.join(", ")}: ${job.status}`);
}

/**
 * The executions of one opcode's steps: all by one leader, and each once. What undoes them is done by the next leader,
 * and again when the agent was killed while it did it.
 */
export function executedTwice(executions: readonly (Execution & { readonly node: string })[]): readonly string[] {
  const findings: string[] = [];
  const epochs = new Map<string, number>();
  const seen = new Set<string>();
  for (const { job, opcode, step, method, epoch, node } of executions) {
    // What each leader does beside all jobs has the number 0.
    if (step.startsWith("undo/") || job === 0) continue;
    const id = `opcode ${opcode} of job ${job}`;
    const begunBy = epochs.get(id) ?? epoch;
    epochs.set(id, begunBy);
    if (begunBy !== epoch) findings.push(`${id} ran under the epochs ${begunBy} and ${epoch}`);
    const execution = `${id}: ${method} ${step} on ${node}`;
    if (seen.has(execution)) findings.push(`${execution} ran twice`);
    seen.add(execution);
  }
  return findings;
}

async function executions(cluster: OneMachineCluster): Promise<readonly (Execution & { readonly node: string })[]> {
  const ofNodes = NODES.map(async (node) => {
    const text = await readFile(path.join(cluster.stateDir, node, "state/executions.log"), "utf8");
    return text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => ({ ...(JSON.parse(line) as Execution), node }));
  });
  return (await Promise.all(ofNodes)).flat();
}

/** A job's locks are released while its end is written, so the last ones may take a moment. */
async function lockedAtRest(cluster: OneMachineCluster): Promise<readonly string[]> {
  const redis = connectRedis({ kind: "socket", path: socketOf(cluster) }, { name: "verdict" });
  try {
    const locks = new RedisLockManager(redis);
    const list = async () =>
      (await locks.list()).map(({ name, owners, pending }) => {
        return `${name} held by ${owners.join(", ")}, waited for by ${pending.map(({ owner }) => owner).join(", ")}`;
      });
    await until("no lock is held", async () => (await list()).length === 0, RELEASE_TIMEOUT_MS).catch(() => undefined);
    return await list();
  } finally {
    redis.disconnect();
  }
}

/** Guests, files of disks and configuration rows, each of which must have its counterparts. */
async function orphans(cluster: OneMachineCluster, view: ConfigView): Promise<readonly string[]> {
  const findings: string[] = [];
  const disksWanted = new Set<string>();
  for (const disk of view.disks.values())
    if (![...view.instances.values()].some(({ disks }) => disks.includes(disk.uuid)))
      findings.push(`the row of disk ${disk.uuid} belongs to no instance`);
  for (const instance of view.instances.values())
    for (const uuid of instance.disks) {
      const disk = view.disks.get(uuid);
      if (disk === undefined) findings.push(`the row of disk ${uuid} of ${instance.name} is missing`);
      else disksWanted.add(`${view.nodes.get(instance.primaryNode)?.name} ${disk.logicalId[1]}`);
    }
  for (const { id, name, dir } of layoutOf(cluster.stateDir, NODES.length).nodes) {
    const files = new Set(await diskFiles(path.join(dir, "root")));
    for (const file of files)
      if (!disksWanted.has(`${name} ${diskOfMark(file)}`))
        findings.push(`the file ${file} on ${id} belongs to no disk`);
    for (const disk of disksWanted)
      if (disk.startsWith(`${name} `) && !files.has(disk.slice(name.length + 1)))
        findings.push(`the file of a disk is missing: ${disk}`);
    for (const guest of await guests(dir)) {
      const instance = view.instances.get(guest.uuid as never);
      if (instance === undefined) findings.push(`the guest ${guest.name} on ${id} belongs to no instance`);
      else if (view.nodes.get(instance.primaryNode)?.name !== name) findings.push(`${guest.name} runs on ${id}`);
      else if (instance.adminState !== "up") findings.push(`${guest.name} runs and should be ${instance.adminState}`);
    }
  }
  return findings;
}

/** Beside each disk's file there is a mark of its owner. */
function diskOfMark(file: string): string {
  return file.replace(/\/\.([^/]+)\.owner$/, "/$1");
}

/** Everything below a node's storage that is no folder, as the cluster knows its path. */
async function diskFiles(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => `/${path.relative(root, path.join(entry.parentPath, entry.name))}`);
}

/** What the fake hypervisor of a node has running: one file a guest. */
async function guests(nodeDir: string): Promise<readonly { readonly name: string; readonly uuid: string }[]> {
  const folder = path.join(nodeDir, "state/fake-hypervisor/guests");
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith(".json"));
  return await Promise.all(
    names.map(async (name) => JSON.parse(await readFile(path.join(folder, name), "utf8")).guest),
  );
}

async function configuration(cluster: OneMachineCluster): Promise<ConfigView> {
  const address = { kind: "socket", path: socketOf(cluster) } as const;
  const store = await RedisConfigStore.open({ address, name: "verdict", logger: silentLogger() });
  const { view } = store;
  await store.close();
  return view;
}

function socketOf(cluster: OneMachineCluster): string {
  return layoutOf(cluster.stateDir, NODES.length).redisSocket;
}

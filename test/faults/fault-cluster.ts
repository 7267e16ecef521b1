/**
 * A one-machine cluster whose daemons can be killed and frozen: with a short lease, with executions noted, and with
 * simulated guests that take their time, so that a fault meets operations half-way.
 */
import { chmod, cp, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { OneMachineCluster } from "../one-machine-cluster.ts";

/** Short, so that a test can wait for the end of many; long enough for a machine that is busy with other tests. */
export const LEASE_MS = 2_000;
export const NODES = ["node1", "node2", "node3"] as const;
export const DAEMONS = ["master", "redis", ...NODES] as const;
export type Daemon = (typeof DAEMONS)[number];

/** An OS definition like `noop`, whose create script takes {@link OPERATION_MS}. */
export const SLOW_OS = "slow";
/** What a start, stop, reboot or installation takes. */
const OPERATION_MS = 250;
const RECOVERY_TIMEOUT_MS = 60_000;
const NOOP = path.resolve(import.meta.dirname, "../../deploy/os/noop");

export async function startFaultCluster(leaseMs = LEASE_MS): Promise<OneMachineCluster> {
  const cluster = await OneMachineCluster.start({ nodes: NODES.length, hypervisors: "fake" });
  try {
    await change(path.join(cluster.stateDir, "master/master.json"), { leaseMs });
    for (const node of NODES) {
      await change(path.join(cluster.stateDir, node, "agent.json"), { recordExecutions: true });
      await slowGuests(path.join(cluster.stateDir, node, "state/fake-hypervisor/faults.json"));
    }
    await slowOs(path.join(cluster.stateDir, "os", SLOW_OS));
    await Promise.all(["master", ...NODES].map((daemon) => ended(cluster, daemon, "SIGTERM")));
    await leading(cluster);
    return cluster;
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

/** Put a signal to a daemon's process, and wait until the launcher has started another. */
export async function ended(cluster: OneMachineCluster, daemon: string, signal: NodeJS.Signals): Promise<void> {
  const pid = await cluster.pid(daemon);
  process.kill(pid, signal);
  await until(`${daemon} is started again`, async () => {
    const now = await cluster.pid(daemon).catch(() => pid);
    return now !== pid && now > 0;
  });
}

/** Stop a daemon's process for a while, as a machine does that swaps or is migrated. */
export async function frozen(cluster: OneMachineCluster, daemon: string, forMs: number): Promise<void> {
  const pid = await cluster.pid(daemon);
  process.kill(pid, "SIGSTOP");
  try {
    await delay(forMs);
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

/** Wait until the master answers and has heard of all nodes, which only a leader does. */
export async function leading(cluster: OneMachineCluster): Promise<void> {
  await until("the master leads and all agents have reported", async () => {
    const { status, body } = await cluster.rapi("GET", "/2/nodes?bulk=1");
    return status === 200 && (body as { mtotal: number | null }[]).every(({ mtotal }) => mtotal !== null);
  });
}

/** Wait for a condition; what it throws counts as not yet. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = RECOVERY_TIMEOUT_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`never came true: ${what}`, { cause: last });
    await delay(50);
  }
}

async function change(file: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const before = JSON.parse(await readFile(file, "utf8")) as object;
  await writeFile(file, JSON.stringify({ ...before, ...settings }));
}

async function slowGuests(faultScript: string): Promise<void> {
  const faults = ["start", "stop", "reboot"].map((operation) => ({ operation, delayMs: OPERATION_MS }));
  await writeFile(faultScript, JSON.stringify({ faults }));
}

async function slowOs(folder: string): Promise<void> {
  await cp(NOOP, folder, { recursive: true });
  const create = path.join(folder, "create");
  await writeFile(create, `#!/bin/sh\nexec sleep ${OPERATION_MS / 1000}\n`);
  await chmod(create, 0o755);
}

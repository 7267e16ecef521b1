/** Two clusters between which instances move, and the calls by which Ganeti's move-instance moves them. */
import { readdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, expect, vi } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { eventually } from "../e2e/conditions.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";
import { ONE, SLOW_MS } from "./simulated-instances.ts";

export const NAME = "moved.gannet.test";
export const INSTANCE = `/2/instances/${NAME}`;
const MIB = 1024 * 1024;
export const DISKS = [{ size: 4 }, { size: 2 }];
export const SECRET = "one secret of both clusters";

export type Prepared = {
  readonly handshake: [number, string, string];
  readonly x509_key_name: [string, string, string];
  readonly x509_ca: string;
};
export type Awaited = { readonly disks: readonly [string, number, string, string, string][]; readonly x509_ca: string };

let [source, target]: OneMachineCluster[] = [];

/** Two clusters with one secret, for the tests of a file. */
export function useTwoClusters(): void {
  vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });
  beforeAll(async () => {
    // One after the other: each looks for free ports.
    source = await OneMachineCluster.start({ nodes: 1 });
    target = await OneMachineCluster.start({ nodes: 1 });
    for (const cluster of [source, target]) await writeFile(secretFile(cluster), `${SECRET}\n`);
  });
  afterAll(async () => {
    await source?.[Symbol.asyncDispose]();
    await target?.[Symbol.asyncDispose]();
  });
}

export const from = (): OneMachineCluster => source as OneMachineCluster;
export const to = (): OneMachineCluster => target as OneMachineCluster;

export function secretFile(cluster: OneMachineCluster): string {
  return layoutOf(cluster.stateDir, 1).domainSecretFile;
}

export async function createSource(): Promise<readonly Buffer[]> {
  await from().succeed("POST", "/2/instances", {
    __version__: 1,
    mode: "create",
    instance_name: NAME,
    disk_template: "file",
    disks: DISKS,
    nics: [{}],
    os_type: "noop",
    pnode: ONE,
    hypervisor: "fake",
    beparams: { memory: 64 },
    start: false,
  });
  const contents = DISKS.map(({ size }, index) => Buffer.alloc(size * MIB, `contents of disk ${index};`));
  for (const [index, file] of (await disksOf(from(), NAME)).entries()) await writeFile(file, contents[index] ?? "");
  return contents;
}

export async function disksOf(cluster: OneMachineCluster, name: string): Promise<readonly string[]> {
  const { opresult } = await cluster.succeed("PUT", `/2/instances/${name}/activate-disks`);
  return (opresult as [[string, string, string][]])[0].map(([, , device]) => device);
}

export async function prepared(): Promise<Prepared> {
  const { opresult } = await from().succeed("PUT", `${INSTANCE}/prepare-export?mode=remote`);
  return opresult[0] as Prepared;
}

export function creation(prep: Partial<Prepared>, more: Readonly<Record<string, unknown>> = {}) {
  return {
    __version__: 1,
    mode: "remote-import",
    instance_name: NAME,
    disk_template: "file",
    disks: DISKS,
    nics: [{}],
    os_type: "noop",
    pnode: ONE,
    hypervisor: "fake",
    beparams: { maxmem: 64, minmem: 64 },
    start: false,
    ip_check: false,
    source_handshake: prep.handshake,
    source_x509_ca: prep.x509_ca,
    source_instance_name: NAME,
    source_shutdown_timeout: 10,
    ...more,
  };
}

/** Begin an import, and wait for the entry of its log that tells where to send to. */
export async function beginImport(prep: Prepared, more: Readonly<Record<string, unknown>> = {}) {
  const { body, status } = await to().rapi("POST", "/2/instances", { body: creation(prep, more) });
  expect(status, JSON.stringify(body)).toBe(200);
  const id = body as number;
  let awaited: Awaited | undefined;
  await eventually("the import tells where it listens", async () => {
    const job = (await to().rapi("GET", `/2/jobs/${id}`)).body as FinishedJob;
    if (job.status === "error") throw new Error(`the import failed: ${JSON.stringify(job.opresult)}`);
    const entries = job.oplog.flat() as [number, unknown, string, Awaited][];
    awaited = entries.find(([, , type]) => type === "remote-import")?.[3];
    return awaited !== undefined;
  });
  return { id, awaited: awaited as unknown as Awaited };
}

export function exportation(prep: Prepared, awaited: Awaited, more: Readonly<Record<string, unknown>> = {}) {
  return {
    mode: "remote",
    destination: awaited.disks,
    shutdown: true,
    remove_instance: false,
    x509_key_name: prep.x509_key_name,
    destination_x509_ca: awaited.x509_ca,
    long_sleep: true,
    ...more,
  };
}

/** Nothing of a transfer may be left on the only node of a cluster. */
export async function leftovers(cluster: OneMachineCluster): Promise<readonly string[]> {
  const [node] = layoutOf(cluster.stateDir, 1).nodes;
  const below = async (folder: string) => readdir(path.join(node?.dir ?? "", "state", folder)).catch(() => []);
  return [...(await below("transfers")), ...(await below("transfer-keys"))];
}

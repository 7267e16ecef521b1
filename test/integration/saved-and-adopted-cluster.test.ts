/**
 * One cluster that loses what its Redis held, three times: it is rebuilt from a node's copy of the configuration, comes
 * from Ganeti's configuration, and comes back from a backup. Its instance and the bytes on its disk stay.
 */
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ConfigRows, configViewOf, parseConfiguration, readConfiguration, rowsOf } from "@gannet/config-store";
import { BullWakeQueue, RedisJobLedger } from "@gannet/job-ledger";
import type { Parameters } from "@gannet/objects";
import { parseOpcode, summaryOf, wireOpcode } from "@gannet/opcodes";
import { connectRedis, startEmbeddedRedis } from "@gannet/redis";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { type Layout, layoutOf } from "../../deploy/one-machine/layout.ts";
import { runBackup } from "../../services/admin/src/backup/command.ts";
import { runImport } from "../../services/admin/src/import-ganeti/command.ts";
import { runRebuild } from "../../services/admin/src/rebuild/command.ts";
import { runRestore } from "../../services/admin/src/restore/command.ts";
import { eventually } from "../e2e/conditions.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";
import { CONTENTS, contentsOf, createInstance, installOs, ONE, runsOn, SLOW_MS } from "./simulated-instances.ts";

const NODES = 2;
const NAME = "kept.gannet.test";
const INSTANCE = `/2/instances/${NAME}`;
/** By how much at least ids of jobs are ahead after a rebuild or a restore. */
const JUMP = 10_000;
vi.setConfig({ testTimeout: SLOW_MS, hookTimeout: SLOW_MS });

let folder: string;
let layout: Layout;
let cluster: OneMachineCluster;
/** What the remote API says of the instance, without what changes with time. */
let before: unknown;
let lastJob: number;

beforeAll(async () => {
  vi.spyOn(console, "log").mockImplementation(() => {});
  folder = await mkdtemp(path.join(tmpdir(), "gannet-"));
  layout = layoutOf(path.join(folder, "state"), NODES);
  await mkdir(layout.stateDir);
  await writeFile(path.join(folder, "passphrase"), "a passphrase of a test");
  await start();
  await installOs(cluster);
  await createInstance(cluster, NAME, { disk_template: "plain", snode: undefined });
  before = await lasting();
  await backupUnderLoad();
});
afterAll(async () => {
  await cluster[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  const env = { GANNET_STORAGE: "simulated" };
  cluster = await OneMachineCluster.start({ nodes: NODES, stateDir: layout.stateDir, env });
}

async function lasting(): Promise<unknown> {
  const { body } = await cluster.rapi("GET", INSTANCE);
  const {
    serial_no: _,
    mtime: __,
    oper_state: ___,
    oper_ram: ____,
    oper_vcpus: _____,
    status: ______,
    ...row
  } = body as Record<string, unknown>;
  return row;
}

/** Jobs are submitted and change the configuration from before the backup until after it. */
async function backupUnderLoad(): Promise<void> {
  const load = { over: false, last: 0 };
  const working = (async () => {
    for (let n = 0; !load.over; n++) load.last = (await cluster.succeed("PUT", `${INSTANCE}/tags?tag=load${n}`)).id;
  })();
  const options = {
    root: emptyRoot(),
    config: layout.masterConfigFile,
    passphraseFile: path.join(folder, "passphrase"),
  };
  await runBackup(path.join(folder, "backup"), { ...options, force: false });
  load.over = true;
  await working;
  const tags = (await cluster.rapi("GET", `${INSTANCE}/tags`)).body as readonly string[];
  await cluster.succeed("DELETE", `${INSTANCE}/tags?${tags.map((tag) => `tag=${tag}`).join("&")}`);
  lastJob = load.last;
}

function emptyRoot(): string {
  return path.join(folder, "root");
}

/** Between a stop and a start, with a Redis that has nothing, or what it had. */
async function withRedis(state: "emptied" | "as it was", work: () => Promise<void>): Promise<void> {
  if (state === "emptied") await rm(path.join(layout.redisDir, "appendonlydir"), { recursive: true });
  const redis = await startEmbeddedRedis({ directory: layout.redisDir, socketPath: layout.redisSocket });
  try {
    await work();
  } finally {
    await redis.stop();
  }
}

/** The instance is as it was, runs with its own bytes, and the cluster finds nothing wrong with itself. */
async function goesOn(): Promise<void> {
  await runsOn(cluster, NAME, ONE);
  expect(await lasting()).toEqual(before);
  expect(await contentsOf(cluster, NAME)).toBe(CONTENTS);
  for (const [id, params] of [
    ["OP_CLUSTER_VERIFY_CONFIG", {}],
    ["OP_CLUSTER_VERIFY_GROUP", { group_name: "default" }],
    ["OP_GROUP_VERIFY_DISKS", { group_name: "default" }],
  ] as const) {
    const { status, opresult, oplog } = await job(id, params);
    expect([id, status, opresult], JSON.stringify(oplog)).toEqual([
      id,
      "success",
      id === "OP_GROUP_VERIFY_DISKS" ? [[{}, [], {}]] : [true],
    ]);
  }
}

/** What the remote API has no resource for. */
async function job(id: string, params: object): Promise<FinishedJob> {
  const address = { kind: "socket", path: layout.redisSocket } as const;
  const logger = silentLogger();
  const queue: BullWakeQueue = new BullWakeQueue({
    address,
    name: "test",
    readyJobs: () => ledger.readyJobs(),
    logger,
  });
  const ledger = new RedisJobLedger({ address, name: "test", wakeQueue: queue, logger });
  try {
    const { declaration, op } = parseOpcode({ OP_ID: id, ...params });
    const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
    const [submitted = 0] = await ledger.submit([{ requester: "tester", opcodes: [opcode] }]);
    return await cluster.finished(submitted);
  } finally {
    await ledger.close();
    await queue.close();
  }
}

test("a rebuild from a node's copy of the configuration", async () => {
  const snapshot = path.join(layout.nodes[0]?.dir ?? "", "state/configuration.json");
  await eventually("the node's copy is the newest", async () => {
    const { rows, marks } = parseConfiguration(await readFile(snapshot, "utf8"));
    return marks !== undefined && rows.instances.some(({ name, tags }) => name === NAME && tags.length === 0);
  });
  await cluster.stop();
  await withRedis("emptied", () => runRebuild({ root: "/", config: layout.masterConfigFile, snapshot, force: false }));
  await start();
  await goesOn();
  const submitted = await cluster.succeed("POST", `${INSTANCE}/reboot`);
  expect(submitted.id).toBeGreaterThan(lastJob + JUMP);
});

test("the same cluster as Ganeti's configuration has it", async () => {
  await cluster.stop();
  const file = path.join(folder, "config.data");
  await withRedis("as it was", async () => {
    const redis = connectRedis({ kind: "socket", path: layout.redisSocket }, { name: "test" });
    const present = await readConfiguration(redis).finally(() => redis.disconnect());
    if (present === undefined) throw new Error("no configuration");
    await writeFile(file, JSON.stringify(asGaneti(present.rows)));
    const nodeAgent = new Map(present.rows.nodes?.map(({ name, agentAddress }) => [name, agentAddress ?? ""]));
    await runImport(file, {
      ...{ root: "/", config: layout.masterConfigFile, dryRun: false, skip: [], force: true },
      nodeAgent,
    });
  });
  await start();
  await goesOn();
});

test("a restore of the backup that was made under load", async () => {
  await cluster.stop();
  const passphraseFile = path.join(folder, "passphrase");
  await runRestore(path.join(folder, "backup"), { root: emptyRoot(), passphraseFile, force: false });
  // The layout of this machine is another than the system's.
  await rm(path.join(layout.redisDir, "appendonlydir"), { recursive: true });
  await rename(
    path.join(emptyRoot(), "var/lib/gannet/redis/appendonlydir"),
    path.join(layout.redisDir, "appendonlydir"),
  );
  await rm(path.join(layout.masterStateDir, "watermark.json"));
  await start();
  const jobs = (await cluster.rapi("GET", "/2/jobs?bulk=1")).body as readonly {
    id: number;
    status: string;
    summary: string[];
  }[];
  expect(jobs[0]).toMatchObject({ id: 1, status: "success", summary: [`INSTANCE_CREATE(${NAME})`] });
  expect(
    jobs.filter(({ id }) => id <= lastJob).filter(({ status }) => status === "running" || status === "queued"),
  ).toEqual([]);
  const tags = (await cluster.rapi("GET", `${INSTANCE}/tags`)).body as readonly string[];
  if (tags.length > 0) await cluster.succeed("DELETE", `${INSTANCE}/tags?${tags.map((tag) => `tag=${tag}`).join("&")}`);
  await goesOn();
});

/** As much of Ganeti 3.1's configuration as says the same of this cluster. */
function asGaneti(present: ConfigRows): object {
  const { cluster: own, nodes, groups, instances, disks } = rowsOf(configViewOf(present));
  const stamps = ({
    uuid,
    ctime,
    mtime,
    serialNo,
  }: {
    uuid: string;
    ctime: number;
    mtime: number;
    serialNo: number;
  }) => ({
    ...{ uuid, ctime, mtime },
    serial_no: serialNo,
  });
  const table = <Row extends { readonly uuid: string }>(rows: readonly Row[], form: (row: Row) => object) =>
    Object.fromEntries(rows.map((row) => [row.uuid, form(row)]));
  const within = (values: Parameters) => ({ default: values });
  return {
    version: 3_010_000,
    cluster: {
      ...stamps(own),
      cluster_name: own.name,
      master_node: own.masterNode,
      master_ip: own.masterIp,
      master_netdev: own.masterNetdev,
      master_netmask: own.masterNetmask,
      mac_prefix: own.macPrefix,
      highest_used_port: own.highestUsedPort,
      volume_group_name: own.volumeGroupName,
      drbd_usermode_helper: own.drbdUsermodeHelper,
      file_storage_dir: own.fileStorageDir,
      shared_file_storage_dir: own.sharedFileStorageDir,
      enabled_hypervisors: own.enabledHypervisors,
      enabled_disk_templates: own.enabledDiskTemplates,
      hvparams: own.hvparams,
      beparams: within(own.beparams),
      nicparams: within(own.nicparams),
      ipolicy: own.ipolicy,
      modify_etc_hosts: false,
      modify_ssh_setup: false,
      default_iallocator: own.defaultIallocator,
    },
    nodegroups: table(groups, (row) => ({ ...stamps(row), name: row.name, alloc_policy: row.allocPolicy })),
    nodes: table(nodes, (row) => ({
      ...stamps(row),
      ...{ name: row.name, group: row.group, primary_ip: row.primaryIp, secondary_ip: row.secondaryIp },
      master_candidate: row.masterCandidate,
    })),
    instances: table(instances, (row) => ({
      ...stamps(row),
      ...{ name: row.name, os: row.os, hypervisor: row.hypervisor, hvparams: row.hvparams, beparams: row.beparams },
      primary_node: row.primaryNode,
      admin_state: row.adminState,
      disks: row.disks,
      disks_active: row.disksActive,
      nics: row.nics,
    })),
    disks: table(disks, (row) => ({
      ...stamps(row),
      ...{ dev_type: row.template, logical_id: row.logicalId, size: row.sizeMib, mode: row.mode, iv_name: row.ivName },
    })),
    networks: {},
    filters: {},
  };
}

/** Debian's python3-ganeti-rapi, unchanged, on plain and mirrored disks: after each job, what is on the nodes. */
import { readdirSync, readFileSync } from "node:fs";
import { cp, writeFile } from "node:fs/promises";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { hasPythonClient, runClientSteps } from "./client-script.ts";

const NODES = 3;
const [NODE1, NODE2, NODE3] = ["node1.gannet.test", "node2.gannet.test", "node3.gannet.test"];

interface FinishedStep {
  readonly job: { readonly opresult: readonly unknown[]; readonly oplog: readonly (readonly unknown[][])[] };
}

/** What one node has: its volumes with their sizes, and its DRBD devices as /proc/drbd tells them. */
interface NodeLook {
  readonly volumes: readonly (readonly [name: string, sizeMib: number])[];
  readonly mirrors: readonly (readonly [connection: string, roles: string, disks: string])[];
}

const EMPTY: NodeLook = { volumes: [], mirrors: [] };
const PRIMARY = ["Connected", "Primary/Secondary", "UpToDate/UpToDate"] as const;
const SECONDARY = ["Connected", "Secondary/Primary", "UpToDate/UpToDate"] as const;

/** A node with one end of a mirrored disk. */
function end(sizeMib: number, ...mirrors: NodeLook["mirrors"]): NodeLook {
  return {
    volumes: [
      ["disk0_data", sizeMib],
      ["disk0_meta", 128],
    ],
    mirrors,
  };
}
const plain = (sizeMib: number): NodeLook => ({ volumes: [["disk0", sizeMib]], mirrors: [] });

describe.skipIf(!hasPythonClient())("disks on simulated LVM and DRBD", () => {
  let cluster: OneMachineCluster;
  let steps: ReadonlyMap<string, unknown>;

  beforeAll(async () => {
    cluster = await OneMachineCluster.start({ nodes: NODES, env: { GANNET_STORAGE: "simulated" } });
    const { nodes, osDir } = layoutOf(cluster.stateDir, NODES);
    await failingOs(path.join(osDir, "failing"));
    const folders = nodes.map(({ simulatedStorageDir }) => simulatedStorageDir);
    steps = await runClientSteps(cluster, "storage_life.py", ...folders);
  }, 600_000);
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  const job = (step: string) => (steps.get(step) as FinishedStep).job;
  const log = (step: string) => JSON.stringify(job(step).oplog);
  const look = (step: string) => steps.get(`look-${step}`);

  test("a creation that fails late leaves nothing on either node", () => {
    expect(job("failed").opresult).toEqual([["OpExecError", [expect.stringContaining("no such mirror")]]]);
    expect(log("failed")).toContain("disks are in sync");
    expect(look("failed")).toEqual([EMPTY, EMPTY, EMPTY]);
  });

  test("a node's storage is that of its volume group", () => {
    const { dtotal, dfree } = steps.get("space") as { readonly dtotal: number; readonly dfree: number };
    expect(dfree).toBe(dtotal);
    expect(steps.get("space-used")).toMatchObject({ dtotal, dfree: dfree - 64 - 128 });
  });

  test("a mirrored instance is on both nodes, in sync before it is installed", () => {
    expect(job("create-drbd").opresult).toEqual([[NODE1, NODE2]]);
    expect(log("create-drbd")).toMatch(/disks are in sync.*OS create scripts/);
    expect(look("running")).toEqual([end(64, PRIMARY), end(64, SECONDARY), EMPTY]);
    const row = { status: "running", pnode: NODE1, snodes: [NODE2], disk_template: "drbd", disk_usage: 192 };
    expect(steps.get("drbd")).toMatchObject({ ...row, "disk.sizes": [64] });
    const [info] = job("info").opresult as [Record<string, { disks: readonly Record<string, unknown>[] }>];
    expect(info["web1.gannet.test"]?.disks).toMatchObject([
      {
        logical_id: [expect.any(String), expect.any(String), expect.any(Number), 0, 0, null],
        drbd_info: { primary_node: NODE1, secondary_node: NODE2, primary_minor: 0, secondary_minor: 0 },
        pstatus: ["/dev/drbd0", 147, 0, null, null, false, 1],
        sstatus: ["/dev/drbd0", 147, 0, null, null, false, 1],
      },
    ]);
  });

  test("it grows on both nodes, and a full reboot brings both up again", () => {
    expect(steps.get("grown")).toMatchObject({ "disk.sizes": [96] });
    expect(look("grown")).toEqual([end(96, PRIMARY), end(96, SECONDARY), EMPTY]);
    expect(look("rebooted")).toEqual(look("grown"));
  });

  test("shutdown and deactivation release both ends, activation brings them up", () => {
    const down = [end(96), end(96), EMPTY];
    expect(look("down")).toEqual(down);
    expect(job("activate").opresult).toEqual([[[NODE1, "disk/0", expect.stringMatching(/\/drbd0$/)]]]);
    expect(look("activated")).toEqual([end(96, PRIMARY), end(96, SECONDARY), EMPTY]);
    expect(look("deactivated")).toEqual(down);
  });

  test("its template is changed to plain, and back with another node", () => {
    expect(job("to-plain").opresult).toEqual([[["disk_template", "plain"]]]);
    expect(steps.get("plain")).toMatchObject({ disk_template: "plain", snodes: [], "disk.sizes": [96] });
    const [first, ...others] = look("plain") as readonly NodeLook[];
    // A volume keeps its name.
    expect(first).toEqual({ volumes: [["disk0_data", 96]], mirrors: [] });
    expect(others).toEqual([EMPTY, EMPTY]);
    expect(steps.get("drbd-again")).toMatchObject({ disk_template: "drbd", snodes: [NODE3] });
    expect(look("drbd-again")).toEqual([end(96), EMPTY, end(96)]);
    expect(look("up")).toEqual([end(96, PRIMARY), EMPTY, end(96, SECONDARY)]);
    expect(steps.get("up")).toMatchObject({ status: "running" });
  });

  test("storage units are listed, changed and repaired", () => {
    const total = expect.any(Number);
    expect(job("volume-groups").opresult).toEqual([[["xenvg", total, 224, total, true, "lvm-vg", NODE3]]]);
    expect(job("physical-volumes").opresult).toEqual([[["/dev/vdb", total, 224, total, false, "lvm-pv", NODE3]]]);
    expect(log("repair")).toContain("Repairing storage unit 'xenvg'");
  });

  test("lost disks are made again on other nodes", () => {
    expect(look("lost")).toEqual([EMPTY, EMPTY, EMPTY]);
    expect(steps.get("recreated")).toMatchObject({ pnode: NODE2, snodes: [NODE3], status: "ADMIN_down" });
    expect(look("recreated")).toEqual([EMPTY, end(96), end(96)]);
    expect(look("deleted-drbd")).toEqual([EMPTY, EMPTY, EMPTY]);
  });

  test("a plain instance has a volume, as a file or as a volume again", () => {
    expect(steps.get("plain-running")).toMatchObject({ status: "running", "disk.names": ["root"], "disk.sizes": [32] });
    expect(look("plain-running")).toEqual([plain(32), EMPTY, EMPTY]);
    expect(look("file")).toEqual([EMPTY, EMPTY, EMPTY]);
    expect(look("from-file")).toEqual([plain(32), EMPTY, EMPTY]);
  });

  test("a volume is adopted with its size, under a disk's name", () => {
    expect(steps.get("adopted")).toMatchObject({ "disk.sizes": [40], status: "running" });
    expect(look("adopted")).toEqual([plain(40), EMPTY, EMPTY]);
  });

  test("an allocator places a mirrored instance on the emptier nodes, and says why another has no place", () => {
    const { pnode, snodes } = steps.get("allocated-row") as { pnode: string; snodes: readonly string[] };
    expect([pnode, ...snodes].sort()).toEqual([NODE2, NODE3]);
    const { ok, job } = steps.get("nowhere") as { ok: boolean } & FinishedStep;
    expect(ok).toBe(false);
    expect(JSON.stringify(job.opresult)).toMatch(/FailMem.*temp_insufficient_resources/);
  });

  test("in the end nothing is left, and no secret was told anywhere", () => {
    expect(steps.get("instances")).toEqual([]);
    expect(look("end")).toEqual([EMPTY, EMPTY, EMPTY]);
    const files = readdirSync(cluster.stateDir, { recursive: true, encoding: "utf8" });
    expect(files.filter((name) => name.includes(".file.disk"))).toEqual([]);
    const secrets = new Set(everySecret(cluster.stateDir));
    expect(secrets.size).toBeGreaterThan(0);
    const told = `${JSON.stringify([...steps])}${cluster.log}`;
    for (const secret of secrets) expect(told).not.toContain(secret);
  });
});

/** An OS definition that cannot be installed. */
async function failingOs(folder: string): Promise<void> {
  await cp(path.resolve(import.meta.dirname, "../../deploy/os/noop"), folder, { recursive: true });
  await writeFile(path.join(folder, "create"), "#!/bin/sh\necho 'no such mirror' >&2\nexit 7\n", { mode: 0o755 });
}

/** Secrets of the DRBD disks that there were: they stand in what Redis has on disk of the configuration. */
function everySecret(stateDir: string): readonly string[] {
  const files = readdirSync(stateDir, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".aof"));
  return files.flatMap((name) =>
    [...readFileSync(path.join(stateDir, name), "latin1").matchAll(/,\\*"([0-9a-f]{40})\\*"\]/g)].flatMap(
      ([, secret]) => secret ?? [],
    ),
  );
}

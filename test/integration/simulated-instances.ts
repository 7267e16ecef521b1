/** Instances with simulated guests on a cluster with simulated LVM and DRBD, and what is on their disks. */
import { chmod, cp, mkdir, open, writeFile } from "node:fs/promises";
import path from "node:path";
import { layoutOf } from "../../deploy/one-machine/layout.ts";
import { eventually } from "../e2e/conditions.ts";
import { type FinishedJob, OneMachineCluster } from "../one-machine-cluster.ts";

export const NODES = 3;
export const [ONE, TWO, THREE] = ["node1.gannet.test", "node2.gannet.test", "node3.gannet.test"] as const;
/** What an installation by {@link OS} leaves at the beginning of the first disk. */
export const CONTENTS = "these bytes go where their instance goes";
/** An OS definition whose scripts read and write disks. */
export const OS = "marked";
/** A command that is simulated takes a tenth of a second of processor time, and an operation on DRBD dozens of them. */
export const SLOW_MS = 180_000;

export interface InstanceRow {
  readonly pnode: string;
  readonly snodes: readonly string[];
  readonly status: string;
  readonly admin_state: string;
  readonly disk_template: string;
}

export async function startSimulatedCluster(): Promise<OneMachineCluster> {
  const cluster = await OneMachineCluster.start({ nodes: NODES, env: { GANNET_STORAGE: "simulated" } });
  await installOs(cluster);
  return cluster;
}

/** {@link OS}, on every node. */
export async function installOs({ stateDir }: OneMachineCluster): Promise<void> {
  const folder = path.join(layoutOf(stateDir, NODES).osDir, OS);
  await mkdir(path.dirname(folder), { recursive: true });
  await cp(path.resolve(import.meta.dirname, "../../deploy/os/noop"), folder, { recursive: true });
  const scripts = {
    create: `printf '${CONTENTS}' | dd of="$DISK_0_PATH" conv=notrunc 2>/dev/null`,
    // Fails for an instance that is named for it.
    export: 'case "$INSTANCE_NAME" in broken.*) exit 7;; esac\nexec cat "$EXPORT_DEVICE"',
    import: 'exec dd of="$IMPORT_DEVICE" conv=notrunc 2>/dev/null',
  };
  for (const [name, text] of Object.entries(scripts)) {
    await writeFile(path.join(folder, name), `#!/bin/sh\n${text}\n`);
    await chmod(path.join(folder, name), 0o755);
  }
}

export async function createInstance(
  cluster: OneMachineCluster,
  name: string,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  await cluster.succeed("POST", "/2/instances", {
    __version__: 1,
    mode: "create",
    instance_name: name,
    disk_template: "drbd",
    disks: [{ size: 8 }],
    nics: [{}],
    os_type: OS,
    pnode: ONE,
    snode: TWO,
    hypervisor: "fake",
    beparams: { memory: 64 },
    ...changes,
  });
}

export async function instanceRow(cluster: OneMachineCluster, name: string): Promise<InstanceRow> {
  return (await cluster.rapi("GET", `/2/instances/${name}`)).body as InstanceRow;
}

/** The first bytes of the first disk, as its primary node has them. */
export async function contentsOf(cluster: OneMachineCluster, name: string): Promise<string> {
  const { opresult } = await cluster.job("PUT", `/2/instances/${name}/activate-disks`);
  const [[[, , device]]] = opresult as [[[string, string, string]]];
  const file = await open(device, "r");
  try {
    return (await file.read(Buffer.alloc(CONTENTS.length), 0, CONTENTS.length, 0)).buffer.toString();
  } finally {
    await file.close();
  }
}

export function told(job: FinishedJob): string {
  return job.oplog
    .flat()
    .map((entry) => (Array.isArray(entry) ? String(entry[3]) : String(entry)))
    .join("\n");
}

export async function runsOn(cluster: OneMachineCluster, name: string, node: string): Promise<void> {
  await eventually(`${name} runs on ${node}`, async () => {
    const { pnode, status } = await instanceRow(cluster, name);
    return pnode === node && status === "running";
  });
}

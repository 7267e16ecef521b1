/** The nodes' machines, switched off, with their folders, their empty disks and the network between them. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import type { NodeImage } from "./image/build.ts";
import { NODE_SCRIPTS, writeInitramfs } from "./image/initramfs.ts";
import type { MachineKind } from "./machine-kind.ts";
import { makeNetwork } from "./network.ts";
import { NodeMachine } from "./node-machine.ts";
import type { LabPlan } from "./plan.ts";

export interface MachinesOptions {
  /** An empty folder for everything. */
  readonly workDir: string;
  readonly image: NodeImage;
  readonly kind: MachineKind;
  readonly runner: CommandRunner;
}

export async function makeMachines(
  { nodes }: LabPlan,
  { workDir, image, kind, runner }: MachinesOptions,
): Promise<readonly NodeMachine[]> {
  await makeNetwork(nodes, runner);
  const initramfs = path.join(workDir, "initramfs.cpio");
  const scripts = { scripts: NODE_SCRIPTS, folder: path.join(workDir, "scripts"), target: initramfs };
  await writeInitramfs(image.modules, scripts, runner);
  const machines = nodes.map((node) => new NodeMachine({ node, image, initramfs, runner, kind }));
  for (const machine of machines) {
    await mkdir(machine.node.dir, { recursive: true, mode: 0o700 });
    await machine.makeDisks();
  }
  return machines;
}

/** Machines as an operator has them before there is a cluster: a Debian with systemd, and the packages' files beside it. */
import { cp, mkdir } from "node:fs/promises";
import path from "node:path";
import type { CommandRunner } from "@gannet/exec";
import { buildPackages } from "../../deploy/packages/build-packages.ts";
import { buildVersion } from "../../deploy/packages/build-version.ts";
import { assembleGuest } from "./guest/counter.ts";
import type { NodeImage } from "./image/build.ts";
import { MACHINE_KINDS } from "./machine-kind.ts";
import { makeMachines } from "./machines.ts";
import type { NodeMachine } from "./node-machine.ts";
import { planOf } from "./plan.ts";
import type { Ground } from "./scenario.ts";

export interface BareMachinesOptions {
  /** An empty folder for everything. */
  readonly workDir: string;
  readonly nodeCount: number;
  readonly image: NodeImage;
  readonly runner: CommandRunner;
}

/** As a machine sees the folders that are its own in the lab: packages, and OS definitions of the site. */
export const SHARED_FOLDERS = { packages: "/lab/node/packages", os: "/lab/node/os" } as const;

export class BareMachines implements Ground {
  readonly hasMasterNode = true;
  readonly machines: readonly NodeMachine[];

  private constructor(machines: readonly NodeMachine[]) {
    this.machines = machines;
  }

  /** The packages are built as `make packages` does it, but not compressed. */
  static async start({ workDir, nodeCount, image, runner }: BareMachinesOptions): Promise<BareMachines> {
    const plan = planOf(workDir, nodeCount);
    const machines = await makeMachines(plan, { workDir, image, runner, kind: MACHINE_KINDS.systemd });
    const packages = path.join(workDir, "packages");
    await mkdir(packages);
    const version = await buildVersion(process.env, runner);
    await buildPackages({ ...version, folder: packages, compression: "none", runner });
    for (const { dir } of plan.nodes) {
      await cp(packages, path.join(dir, path.basename(SHARED_FOLDERS.packages)), { recursive: true });
      await cp(path.join(import.meta.dirname, "guest/os"), path.join(dir, path.basename(SHARED_FOLDERS.os)), {
        recursive: true,
      });
      await assembleGuest(dir, runner);
    }
    return new BareMachines(machines);
  }

  get size(): number {
    return this.machines.length;
  }

  get running(): readonly { readonly name: string; readonly machine: NodeMachine }[] {
    return this.machines.filter(({ isOn }) => isOn).map((machine) => ({ name: machine.node.name, machine }));
  }

  async use(count: number): Promise<readonly NodeMachine[]> {
    const wanted = this.machines.slice(0, count);
    await Promise.all(wanted.filter(({ isOn }) => !isOn).map((machine) => machine.powerOn()));
    return wanted;
  }

  /** Units that failed are what a scenario here must not leave. */
  async assertNothingLeft(count: number): Promise<void> {
    for (const machine of this.machines.slice(0, count)) {
      const failed = await machine.run("systemctl --failed --plain --no-legend");
      if (failed !== "") throw new Error(`on ${machine.node.name} failed: ${failed}`);
    }
  }

  /** New machines. */
  async tidyUp(): Promise<void> {
    await this.stop();
    for (const machine of this.machines) await machine.makeDisks();
  }

  async stop(): Promise<void> {
    await Promise.all(this.machines.map((machine) => machine.powerOff()));
  }
}

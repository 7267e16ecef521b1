/** An instance that is being created for as long as a bench wants: until then the job holds the instance's lock. */
import { cp, writeFile } from "node:fs/promises";
import path from "node:path";
import { DOMAIN, layoutOf } from "../../deploy/one-machine/layout.ts";
import { eventually } from "../e2e/conditions.ts";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { disklessInstance } from "./instances.ts";

const OS = "held";
const NOOP = path.resolve(import.meta.dirname, "../../deploy/os/noop");

export class HeldInstance {
  readonly name = `held.${DOMAIN}`;
  readonly #cluster: OneMachineCluster;
  readonly #gate: string;
  readonly #job: number;

  private constructor(cluster: OneMachineCluster, gate: string, job: number) {
    this.#cluster = cluster;
    this.#gate = gate;
    this.#job = job;
  }

  /** Resolves when the instance is in the configuration, so that other jobs find it, and its OS is being installed. */
  static async create(cluster: OneMachineCluster): Promise<HeldInstance> {
    const { osDir } = layoutOf(cluster.stateDir, 1);
    const folder = path.join(osDir, OS);
    const gate = path.join(cluster.stateDir, "held-instance-may-go-on");
    await cp(NOOP, folder, { recursive: true });
    await writeFile(path.join(folder, "create"), `#!/bin/sh\nuntil [ -e '${gate}' ]; do sleep 0.1; done\n`);
    const name = `held.${DOMAIN}`;
    const disks = { disk_template: "file", disks: [{ size: 1 }] };
    const body = { ...disklessInstance(name, 1), ...disks, os_type: OS, start: false };
    const { body: job } = await cluster.rapi("POST", "/2/instances", { body });
    const found = async () => (await cluster.rapi("GET", `/2/instances/${name}`)).status === 200;
    await eventually(`${name} is in the configuration`, found);
    return new HeldInstance(cluster, gate, Number(job));
  }

  /** Let the create go on, and wait for its end, with which the lock is let go. */
  async release(): Promise<void> {
    await writeFile(this.#gate, "");
    const { status, opresult } = await this.#cluster.finished(this.#job);
    if (status !== "success") throw new Error(`the create of ${this.name} failed: ${JSON.stringify(opresult)}`);
  }
}

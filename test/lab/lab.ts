/** The lab as scenarios use it: the nodes' machines, their agents, and the cluster they make. */
import type { CommandRunner } from "@gannet/exec";
import type { DiskTemplate } from "@gannet/objects";
import type { Logger } from "@gannet/telemetry";
import { eventually } from "../e2e/conditions.ts";
import type { RapiClient } from "../rapi-client.ts";
import { placeAgent } from "./agent-bundle.ts";
import { assembleGuest } from "./guest/counter.ts";
import { placeXenGuest } from "./guest/xen-guest.ts";
import type { NodeImage } from "./image/build.ts";
import { LabCluster } from "./lab-cluster.ts";
import { assertNothingLeft, clearNode } from "./leftovers.ts";
import { MACHINE_KINDS, type MachineKindName } from "./machine-kind.ts";
import { makeMachines } from "./machines.ts";
import { NodeAgent } from "./node-agent.ts";
import type { NodeMachine } from "./node-machine.ts";
import { type LabNode, type LabPlan, planOf, VOLUME_GROUP } from "./plan.ts";
import type { Ground } from "./scenario.ts";

export interface LabOptions {
  /** An empty folder for everything. */
  readonly workDir: string;
  readonly nodeCount: number;
  readonly image: NodeImage;
  /** Folder of the files of a guest that cloud-init sets up, where a scenario needs them. */
  readonly cloudGuestDir?: string | undefined;
  readonly kind: Exclude<MachineKindName, "systemd">;
  readonly runner: CommandRunner;
  readonly logger: Logger;
}

/** An agent's first look at its node runs qemu four times. */
const START_TIMEOUT_MS = 300_000;
const DISK_TEMPLATES: readonly DiskTemplate[] = ["plain", "drbd", "file", "sharedfile", "diskless"];

/** A node of the lab, switched on, with its agent running. */
export interface NodeInLab {
  readonly name: string;
  readonly plan: LabNode;
  readonly machine: NodeMachine;
  readonly agent: NodeAgent;
}

export class Lab implements Ground {
  readonly plan: LabPlan;
  readonly nodes: readonly NodeInLab[];
  readonly cloudGuestDir: string | undefined;
  readonly #cluster: LabCluster;
  readonly #running = new Set<NodeInLab>();

  private constructor(fields: {
    plan: LabPlan;
    nodes: readonly NodeInLab[];
    cloudGuestDir: string | undefined;
    cluster: LabCluster;
  }) {
    this.plan = fields.plan;
    this.nodes = fields.nodes;
    this.cloudGuestDir = fields.cloudGuestDir;
    this.#cluster = fields.cluster;
  }

  /** Everything but the nodes' machines, which `use` switches on. */
  static async start(options: LabOptions): Promise<Lab> {
    const { workDir, runner, image } = options;
    const kind = MACHINE_KINDS[options.kind];
    const plan = planOf(workDir, options.nodeCount);
    const machines = await makeMachines(plan, { workDir, image, runner, kind });
    await placeAgent(
      plan.nodes.map(({ dir }) => dir),
      runner,
    );
    await LabCluster.makeIdentities({ plan });
    const cluster = await LabCluster.start({
      ...options,
      plan,
      hypervisors: kind.hypervisors,
      diskTemplates: DISK_TEMPLATES,
    });
    const nodes = machines.map(
      (machine): NodeInLab => ({
        name: machine.node.name,
        plan: machine.node,
        machine,
        agent: new NodeAgent(machine, kind.hypervisors),
      }),
    );
    for (const { agent } of nodes) await agent.configure();
    for (const { dir } of plan.nodes) {
      await assembleGuest(dir, runner);
      if (options.kind === "xen") await placeXenGuest(dir, image, runner);
    }
    return new Lab({ plan, nodes, cloudGuestDir: options.cloudGuestDir, cluster });
  }

  get rapi(): RapiClient {
    return this.#cluster.rapi;
  }

  async use(count: number): Promise<readonly NodeInLab[]> {
    const wanted = this.nodes.slice(0, count);
    await Promise.all(wanted.filter((node) => !this.#running.has(node)).map((node) => this.#begin(node)));
    await this.#heard(wanted);
    return wanted;
  }

  node(name: string): NodeInLab {
    const found = this.nodes.find((node) => node.name === name);
    if (found === undefined) throw new Error(`there is no node ${name}`);
    return found;
  }

  /** Switch a node on again after its power was cut, as a site's start-up scripts would. */
  async powerOnAgain(node: NodeInLab): Promise<void> {
    await node.machine.powerOn();
    await node.agent.start();
    await this.#heard([node]);
  }

  async assertNothingLeft(count: number): Promise<void> {
    await assertNothingLeft(this, count);
  }

  /** Every node is on and reachable, its agent runs, and nothing of an instance is there. */
  async tidyUp(): Promise<void> {
    await this.#mend();
    const { body } = await this.rapi.rapi("GET", "/2/instances");
    for (const { id } of body as readonly { readonly id: string }[])
      await this.rapi.job("DELETE", `/2/instances/${id}`, { shutdown_timeout: 0 });
    for (const node of this.#running) await clearNode(node);
  }

  async #mend(): Promise<void> {
    for (const node of this.#running) {
      if (!node.machine.isOn) await node.machine.powerOn();
      if (!(await node.agent.runs())) await node.agent.start();
    }
    await this.#heard([...this.#running]);
  }

  /** Those that are switched on. */
  get running(): readonly NodeInLab[] {
    return [...this.#running];
  }

  /** Wait until the master has heard of these nodes' agents. */
  async #heard(wanted: readonly NodeInLab[]): Promise<void> {
    for (const { name } of wanted)
      await eventually(
        `${name} is known to the master`,
        async () => {
          const { body } = await this.rapi.rapi("GET", `/2/nodes/${name}`);
          return typeof (body as { mtotal: unknown }).mtotal === "number";
        },
        { timeoutMs: START_TIMEOUT_MS },
      );
  }

  async stop(): Promise<void> {
    await this.#cluster.stop();
    await Promise.all([...this.#running].map(({ machine }) => machine.powerOff()));
  }

  async #begin(node: NodeInLab): Promise<void> {
    await node.machine.powerOn();
    const volumes = node.machine.kind.physicalVolumes.join(" ");
    await node.machine.run(`pvcreate -q ${volumes} && vgcreate -q -s 1m ${VOLUME_GROUP} ${volumes}`);
    await node.agent.start();
    this.#running.add(node);
  }
}

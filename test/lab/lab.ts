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

/** What a lab and all its parts share. */
interface Whole {
  readonly plan: LabPlan;
  readonly cloudGuestDir: string | undefined;
  readonly cluster: LabCluster;
  readonly nodes: readonly NodeInLab[];
  readonly running: Set<NodeInLab>;
}

/** A cluster, and all its nodes or some of them. */
export class Lab implements Ground {
  readonly nodes: readonly NodeInLab[];
  readonly #whole: Whole;

  private constructor(whole: Whole, nodes: readonly NodeInLab[]) {
    this.#whole = whole;
    this.nodes = nodes;
  }

  /** With its cluster; `use` switches the nodes' machines on. */
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
    const { cloudGuestDir } = options;
    return new Lab({ plan, cloudGuestDir, cluster, nodes, running: new Set() }, nodes);
  }

  get size(): number {
    return this.nodes.length;
  }

  /** The last node, and the others. */
  parts(): readonly Lab[] {
    return [this.nodes.slice(0, -1), this.nodes.slice(-1)].map((nodes) => new Lab(this.#whole, nodes));
  }

  get hasMasterNode(): boolean {
    return this.nodes[0] === this.#whole.nodes[0];
  }

  get plan(): LabPlan {
    return this.#whole.plan;
  }

  get cloudGuestDir(): string | undefined {
    return this.#whole.cloudGuestDir;
  }

  get rapi(): RapiClient {
    return this.#whole.cluster.rapi;
  }

  async use(count: number): Promise<readonly NodeInLab[]> {
    const wanted = this.nodes.slice(0, count);
    const { running } = this.#whole;
    await Promise.all(wanted.filter((node) => !running.has(node)).map((node) => this.#begin(node)));
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

  /** Every node that was on is on and reachable, its agent runs, and nothing of an instance is there. */
  async tidyUp(): Promise<void> {
    await this.#mend();
    const { body } = await this.rapi.rapi("GET", "/2/instances?bulk=1");
    const names = new Set(this.nodes.map(({ name }) => name));
    for (const { name, pnode } of body as readonly { readonly name: string; readonly pnode: string }[])
      if (names.has(pnode)) await this.rapi.job("DELETE", `/2/instances/${name}`, { shutdown_timeout: 0 });
    for (const node of this.running) await clearNode(node);
  }

  async #mend(): Promise<void> {
    for (const node of this.running) {
      if (!(await node.machine.answers())) {
        await node.machine.powerOff();
        await node.machine.powerOn();
      }
      if (!(await node.agent.runs())) await node.agent.start();
    }
    await this.#heard(this.running);
  }

  get running(): readonly NodeInLab[] {
    return this.nodes.filter((node) => this.#whole.running.has(node));
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
        { timeoutMs: START_TIMEOUT_MS, everyMs: 250 },
      );
  }

  async stop(): Promise<void> {
    await this.#whole.cluster.stop();
    await Promise.all(this.running.map(({ machine }) => machine.powerOff()));
  }

  async #begin(node: NodeInLab): Promise<void> {
    await node.machine.powerOn();
    const volumes = node.machine.kind.physicalVolumes.join(" ");
    await node.machine.run(`pvcreate -q ${volumes} && vgcreate -q -s 1m ${VOLUME_GROUP} ${volumes}`);
    await node.agent.start();
    this.#whole.running.add(node);
  }
}

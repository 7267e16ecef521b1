/** One node's agent, called as the master calls it, for checks that look at a driver alone. */
import { randomInt } from "node:crypto";
import { loadIdentity } from "@gannet/pki";
import { createNodeClient, type NodeClient, type Step } from "@gannet/rpc";
import type { Lab, NodeInLab } from "../lab.ts";
import { AGENT_PORT } from "../plan.ts";

/** Jobs of a cluster count from 1: those of the checks are far from them. */
const FIRST_JOB = 1_000_000_000;

export class RemoteNode implements Disposable {
  readonly node: NodeInLab;
  readonly client: NodeClient;
  readonly epoch: number;
  readonly #job = FIRST_JOB + randomInt(1_000_000_000);
  #steps = 0;

  private constructor(node: NodeInLab, client: NodeClient, epoch: number) {
    this.node = node;
    this.client = client;
    this.epoch = epoch;
  }

  /** With the master's own certificate, and under its epoch, so that it goes on leading. */
  static async connect(lab: Lab, node: NodeInLab): Promise<RemoteNode> {
    const client = createNodeClient({
      nodeName: node.name,
      address: `${node.plan.ip}:${AGENT_PORT}`,
      identity: await loadIdentity(lab.plan.layout.masterIdentityDir),
    });
    const epoch = Number(await node.machine.run("cat /var/lib/gannet/leaders/*/epoch"));
    return new RemoteNode(node, client, epoch);
  }

  /** A step that no other has been. */
  readonly step = (): Step => {
    this.#steps += 1;
    return { epoch: this.epoch, jobId: this.#job, opcodeIndex: 0, step: `check/${this.#steps}` };
  };

  [Symbol.dispose](): void {
    this.client.close();
  }
}

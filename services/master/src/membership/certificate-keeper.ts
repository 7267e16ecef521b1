/**
 * What the leader does about certificates without being asked: nodes are told whom to trust when they come, certificates
 * that end soon are renewed, and a change of the authority that a leader's death has stopped goes on.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore, Fence } from "@gannet/config-store";
import type { JobLedger } from "@gannet/job-ledger";
import type { Node, NodeUuid } from "@gannet/objects";
import { ClusterRenewCrypto, parseOpcode, summaryOf, wireOpcode } from "@gannet/opcodes";
import type { NodeClient } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import type { LiveState } from "../live-state/live-state-contract.ts";
import { changePhase } from "./cluster-authority.ts";
import { type NodeCertificates, rememberChanges } from "./node-certificates.ts";

/** Between two looks when nothing happens. What is looked at is in memory. */
const LOOK_MS = 60_000;
/** Nodes that come at once are looked at together. */
const SETTLE_MS = 500;
/** A node that could not be renewed is not tried again at each look. */
const RETRY_MS = 10 * 60_000;
const CALL_MS = 30_000;
const NAME = "certificates";

export interface CertificateKeeperOptions {
  readonly certificates: NodeCertificates;
  readonly configStore: ConfigStore;
  readonly live: LiveState;
  readonly ledger: Pick<JobLedger, "submit" | "list">;
  readonly node: (uuid: NodeUuid) => NodeClient;
  readonly fence: Fence;
  readonly logger: Logger;
}

/** Until `over`. Never rejects: what fails is logged, and tried again. */
export async function keepCertificates(options: CertificateKeeperOptions, over: AbortSignal): Promise<void> {
  const keeper = new CertificateKeeper(options, over);
  const unfollow = [options.configStore.onChange(() => keeper.wake()), options.live.onChange(() => keeper.wake())];
  try {
    await keeper.resumeChange();
    while (!over.aborted) {
      await keeper.look();
      await keeper.rest();
    }
  } finally {
    for (const stop of unfollow) stop();
  }
}

class CertificateKeeper {
  readonly #options: CertificateKeeperOptions;
  readonly #over: AbortSignal;
  /** What each node was told of the cluster's trust, since it was last unreachable. */
  readonly #told = new Map<NodeUuid, string>();
  readonly #failedAtMs = new Map<NodeUuid, number>();
  #woken = Promise.withResolvers<void>();

  constructor(options: CertificateKeeperOptions, over: AbortSignal) {
    this.#options = options;
    this.#over = over;
    over.addEventListener("abort", () => this.wake());
  }

  wake(): void {
    this.#woken.resolve();
  }

  async rest(): Promise<void> {
    const late = delay(LOOK_MS, undefined, { signal: this.#over, ref: false });
    await Promise.race([this.#woken.promise, late.catch(() => undefined)]);
    this.#woken = Promise.withResolvers();
    await delay(SETTLE_MS, undefined, { signal: this.#over }).catch(() => undefined);
  }

  async look(): Promise<void> {
    const { configStore, live, certificates, fence, logger } = this.#options;
    const nodes = [...configStore.view.nodes.values()].filter(({ offline }) => !offline);
    const mark = certificates.trustMark(configStore.view.cluster);
    await Promise.all(
      nodes.map((node) => (live.node(node.uuid).reachable ? this.#tend(node, mark) : this.#told.delete(node.uuid))),
    );
    try {
      if (nodes.some((node) => certificates.remembered(node) !== undefined))
        await configStore.commit((view) => rememberChanges(certificates, view, nodes), fence);
    } catch (error) {
      if (!this.#over.aborted) logger.warn({ err: error }, "the nodes' certificates could not be remembered");
    }
  }

  async #tend(node: Node, mark: string): Promise<void> {
    const { configStore, certificates, fence, logger } = this.#options;
    const { cluster } = configStore.view;
    const isTold = this.#told.get(node.uuid) === mark;
    // While the authority changes, the job that changes it renews the nodes' in its order.
    const isDue = changePhase(cluster) === "none" && certificates.isDue(node.name);
    const isTooEarly = Date.now() - (this.#failedAtMs.get(node.uuid) ?? 0) < RETRY_MS;
    if (isTold && (!isDue || isTooEarly)) return;
    try {
      const call = { epoch: fence.epoch, signal: AbortSignal.any([this.#over, AbortSignal.timeout(CALL_MS)]) };
      const agent = this.#options.node(node.uuid);
      if (!isTold) {
        await certificates.tellTrust(agent, cluster, call);
        this.#told.set(node.uuid, mark);
      }
      if (!isDue || isTooEarly) return;
      const { expires } = await certificates.renew(agent, node, call);
      logger.info(
        { node: node.name, expires: new Date(expires * 1000).toISOString() },
        "a node's certificate was renewed",
      );
      this.#failedAtMs.delete(node.uuid);
    } catch (error) {
      if (this.#over.aborted) return;
      if (isTold) this.#failedAtMs.set(node.uuid, Date.now());
      logger.warn(
        { node: node.name, err: error },
        "a node's certificates could not be looked after; it is tried again",
      );
    }
  }

  /** The job that changed the authority has ended with its leader; a new one takes it up where it was. */
  async resumeChange(): Promise<void> {
    const { configStore, ledger, logger } = this.#options;
    if (changePhase(configStore.view.cluster) === "none") return;
    const { declaration, op } = parseOpcode({ OP_ID: ClusterRenewCrypto.id, cluster_certificate: true });
    const opcode = { input: wireOpcode(declaration, op), summary: summaryOf(declaration, op) };
    try {
      const [job] = await ledger.submit([{ requester: NAME, opcodes: [opcode] }]);
      logger.info({ job }, "the change of the cluster's authority goes on");
    } catch (error) {
      if (!this.#over.aborted)
        logger.error({ err: error }, "the change of the cluster's authority could not be resumed");
    }
  }
}

/**
 * What makes a leader the cluster's master for everybody else: its node is the master's node, and the cluster's
 * address is up there and nowhere else.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { ConfigStore, Fence } from "@gannet/config-store";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import {
  activateMasterAddress,
  deactivateMasterAddress,
  type MasterAddress,
  masterAddressOf,
} from "../logical-units/cluster/master-address.ts";

export interface OfficeParts {
  /** This master's own node. */
  readonly nodeName: string;
  readonly configStore: Pick<ConfigStore, "view" | "commit">;
  readonly node: (uuid: NodeUuid) => NodeClient;
  readonly fence: Fence;
  readonly logger: Logger;
}

/** A node that does not answer for so long keeps the address, and the next attempt asks it again. */
const TAKE_DOWN_MS = 5_000;
const LEAVE_MS = 3_000;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;
/** What a leader does beside all jobs. */
const NO_JOB = 0;

/** Whether the master on this node may lead: its node is one of the cluster's, in service, and may be the master's. */
export function mayLead(view: ConfigView, nodeName: string): boolean {
  const own = view.findNode(nodeName);
  return own !== undefined && !own.offline && (own.masterCandidate || own.uuid === view.cluster.masterNode);
}

export class Office {
  readonly #parts: OfficeParts;
  #attempts = 0;

  constructor(parts: OfficeParts) {
    this.#parts = parts;
  }

  /** From now on the master's node is this one. @throws StaleEpoch, Unavailable */
  async take(): Promise<void> {
    const { nodeName, configStore, fence, logger } = this.#parts;
    const before = configStore.view.cluster.masterNode;
    const after = await configStore.commit((view) => {
      const own = view.findNode(nodeName);
      if (own === undefined || own.uuid === view.cluster.masterNode) return [];
      return [{ kind: "cluster", put: { ...view.cluster, masterNode: own.uuid } }];
    }, fence);
    if (after.cluster.masterNode !== before) logger.info({ node: nodeName }, "the master's node is this one now");
  }

  /** Bring the cluster's address here, however long that takes; nothing else waits for it. */
  async keepAddress(over: AbortSignal): Promise<void> {
    for (let pauseMs = RETRY_MIN_MS; !over.aborted; pauseMs = Math.min(2 * pauseMs, RETRY_MAX_MS)) {
      const where = masterAddressOf(this.#parts.configStore.view.cluster);
      try {
        await this.#takeDownElsewhere(where, over);
        await activateMasterAddress(this.#caller(over), where, this.#step("up"));
        return;
      } catch (error) {
        if (over.aborted) return;
        this.#parts.logger.warn({ err: error, address: where.address }, "the cluster's address is not up yet");
      }
      await delay(pauseMs, undefined, { signal: over }).catch(() => undefined);
    }
  }

  /** Take the address from this node. A node that serves another leader by now does what that one says. */
  async leave(): Promise<void> {
    const { configStore, nodeName, logger } = this.#parts;
    const own = configStore.view.findNode(nodeName);
    if (own === undefined) return;
    const where = { ...masterAddressOf(configStore.view.cluster), node: own.uuid };
    const caller = this.#caller(AbortSignal.timeout(LEAVE_MS));
    await deactivateMasterAddress(caller, where, this.#step("down")).catch((error: unknown) => {
      logger.info({ err: error }, "the cluster's address was not taken down here; the next leader does it");
    });
  }

  /** Those that may have had it before. Whoever cannot be asked is either dead or takes it down by itself. */
  async #takeDownElsewhere(where: MasterAddress, over: AbortSignal): Promise<void> {
    const { nodes } = this.#parts.configStore.view;
    const others = [...nodes.values()].filter(
      ({ uuid, offline, masterCandidate }) => uuid !== where.node && !offline && masterCandidate,
    );
    const caller = this.#caller(AbortSignal.any([over, AbortSignal.timeout(TAKE_DOWN_MS)]));
    await Promise.allSettled(
      others.map(({ uuid }) => deactivateMasterAddress(caller, { ...where, node: uuid }, this.#step("down"))),
    );
  }

  #caller(signal: AbortSignal) {
    return { node: this.#parts.node, signal };
  }

  /** Each attempt is a step of its own: nodes answer repeated steps from their journals. */
  #step(what: "up" | "down") {
    const { epoch } = this.#parts.fence;
    this.#attempts += 1;
    return { epoch, jobId: NO_JOB, opcodeIndex: 0, step: `office/${epoch}/${this.#attempts}/${what}` };
  }
}

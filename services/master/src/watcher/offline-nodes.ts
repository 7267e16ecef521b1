/**
 * With `maintain_node_health`: nodes that are marked offline and answer all the same are to have no guests and no DRBD
 * devices in use, for these may be in use elsewhere (ganeti-watcher(8)). Ganeti's watcher does it on the node itself when
 * the master candidates call it offline; here the leader asks such nodes what they have, over connections that prove who
 * they are, and submits a job that does it under the locks (`OP_NODE_QUIESCE`).
 */
import type { ConfigStore } from "@gannet/config-store";
import { GannetError } from "@gannet/errors";
import { type ConfigView, drbdIdOf, type Node, type NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { guestsOn } from "../nodes/guests-on.ts";
import { type AgentTarget, agentAddress } from "../nodes/node-directory.ts";
import type { Proposal } from "./look-plan.ts";
import type { PendingWork } from "./pending-work.ts";
import { tooSoon } from "./tries.ts";
import type { Wait, WatcherMemory } from "./watcher-memory.ts";

export interface OfflineNodesOptions {
  readonly configStore: Pick<ConfigStore, "view">;
  readonly connectAgent: (target: AgentTarget) => NodeClient;
  readonly logger: Logger;
}

/** What a node has that it should not. */
interface Leftovers {
  readonly guests: readonly string[];
  /** In use, and of the cluster's disks. */
  readonly minors: readonly number[];
}

/** Nodes that are offline mostly do not answer. */
const PATIENCE_MS = 10_000;

export class OfflineNodes {
  readonly #options: OfflineNodesOptions;
  readonly #asked = new Set<NodeUuid>();
  /** What was answered since the last look. */
  readonly #answers = new Map<NodeUuid, Leftovers>();

  constructor(options: OfflineNodesOptions) {
    this.#options = options;
  }

  /** What is to be done by what the nodes have answered; they are asked again, and nobody waits for them. */
  look(
    memory: WatcherMemory,
    work: Pick<PendingWork, "nodes" | "everything">,
    nowS: number,
  ): { readonly memory: WatcherMemory; readonly proposals: readonly Proposal[]; readonly waits: readonly Wait[] } {
    const { view } = this.#options.configStore;
    const proposals: Proposal[] = [];
    const waits: Wait[] = [];
    const nodeTries: Record<string, WatcherMemory["nodeTries"][string]> = {};
    for (const node of offlineNodes(view)) {
      const { uuid, name } = node;
      const tried = memory.nodeTries[uuid];
      const answer = this.#answers.get(uuid);
      if (!this.#asked.has(uuid)) void this.#ask(view, node);
      if (tried !== undefined && (answer === undefined || hasAny(answer))) nodeTries[uuid] = tried;
      if (answer === undefined || !hasAny(answer)) continue;
      const job = work.everything ?? work.nodes.get(uuid);
      const obstacle = job === undefined ? tooSoon(tried, nowS) : `job ${job} works on it or is about to`;
      const reason = `it is marked offline and has ${wordsFor(answer)}`;
      if (obstacle !== undefined) {
        waits.push({ kind: "node", name, reason: `${reason}; ${obstacle}` });
        continue;
      }
      proposals.push({ action: "quiesce", name, opcode: { OP_ID: "OP_NODE_QUIESCE", node_name: name }, reason });
      nodeTries[uuid] = { count: (tried?.count ?? 0) + 1, lastS: nowS };
    }
    this.#answers.clear();
    return { memory: { ...memory, nodeTries }, proposals, waits };
  }

  /** Never throws. */
  async #ask(view: ConfigView, node: Node): Promise<void> {
    const { connectAgent, logger } = this.#options;
    this.#asked.add(node.uuid);
    const agent = connectAgent({ name: node.name, address: agentAddress(node) });
    const signal = AbortSignal.timeout(PATIENCE_MS);
    try {
      const guests = (await guestsOn(agent, signal)).map(({ name }) => name);
      const { minors } = await agent.storage.describeDrbd({}, { signal });
      const ours = minorsAt(view, node);
      this.#answers.set(node.uuid, { guests, minors: minors.filter((minor) => ours.has(minor)) });
    } catch (error) {
      if (!(error instanceof GannetError || signal.aborted))
        logger.warn({ node: node.name, err: error }, "a node that is marked offline could not be asked");
    } finally {
      agent.close();
      this.#asked.delete(node.uuid);
    }
  }
}

function offlineNodes({ cluster, nodes }: ConfigView): readonly Node[] {
  return cluster.maintainNodeHealth ? [...nodes.values()].filter(({ offline }) => offline) : [];
}

function minorsAt(view: ConfigView, { uuid }: Node): ReadonlySet<number> {
  return new Set(
    [...view.disks.values()]
      .filter(({ template }) => template === "drbd")
      .flatMap((disk) => {
        const { nodes, minors } = drbdIdOf(disk);
        return nodes.flatMap((node, end) => (node === uuid ? [minors[end] ?? 0] : []));
      }),
  );
}

const hasAny = ({ guests, minors }: Leftovers): boolean => guests.length + minors.length > 0;

function wordsFor({ guests, minors }: Leftovers): string {
  const words = [
    guests.length > 0 ? `guests (${guests.join(", ")})` : "",
    minors.length > 0 ? `DRBD minors in use (${minors.join(", ")})` : "",
  ];
  return words.filter((word) => word !== "").join(" and ");
}

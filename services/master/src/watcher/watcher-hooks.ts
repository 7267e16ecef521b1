/**
 * The site's scripts of the watcher (`watcher` in the folder of hooks; ganeti-watcher(8)): at each round on every node,
 * for light work such as seeing that a daemon runs. Nobody waits for them, so one that fails or hangs stops nothing: what
 * has become of them is told by the looks that follow.
 */
import type { ConfigStore, Fence } from "@gannet/config-store";
import { StaleEpoch } from "@gannet/errors";
import type { ConfigView, Node, NodeUuid } from "@gannet/objects";
import type { NodeClient } from "@gannet/rpc";
import type { Logger } from "@gannet/telemetry";
import { clusterEnvironment, LONGEST_OUTPUT } from "../hooks/run-hooks.ts";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { HookProblem, Wait, WatcherMemory } from "./watcher-memory.ts";

export interface WatcherHooksOptions {
  readonly configStore: Pick<ConfigStore, "view">;
  readonly live: Pick<LiveState, "node">;
  readonly node: (uuid: NodeUuid) => Pick<NodeClient, "node">;
  readonly fence: Fence;
  /** Between two rounds. */
  readonly intervalMs: number;
  readonly logger: Logger;
}

/** Of the folder in which they stand. */
const HOOKS_PATH = "watcher";

export class WatcherHooks {
  readonly #options: WatcherHooksOptions;
  /** Nodes whose scripts run, and since when, in milliseconds since 1970. */
  readonly #running = new Map<NodeUuid, number>();
  /** What was wrong with those that have ended since the last look. */
  readonly #ended = new Map<NodeUuid, readonly HookProblem[]>();

  constructor(options: WatcherHooksOptions) {
    this.#options = options;
  }

  /** Begin a round where one is due, and say what is known of the rounds before. */
  look(memory: WatcherMemory, nowMs: number): { readonly memory: WatcherMemory; readonly waits: readonly Wait[] } {
    const { configStore, intervalMs } = this.#options;
    const { view } = configStore;
    const isDue = Math.abs(nowMs - memory.hooks.roundAtS * 1000) >= intervalMs;
    const waits = isDue ? this.#begin(view, nowMs) : [];
    const before = memory.hooks.problems.filter(({ node }) => {
      const uuid = view.findNode(node)?.uuid;
      return uuid !== undefined && !this.#ended.has(uuid);
    });
    const problems = [...before, ...[...this.#ended.values()].flat()];
    this.#ended.clear();
    return {
      memory: { ...memory, hooks: { roundAtS: isDue ? nowMs / 1000 : memory.hooks.roundAtS, problems } },
      waits,
    };
  }

  #begin(view: ConfigView, nowMs: number): readonly Wait[] {
    const waits: Wait[] = [];
    for (const node of view.nodes.values()) {
      if (node.offline || !this.#options.live.node(node.uuid).reachable) continue;
      const since = this.#running.get(node.uuid);
      if (since === undefined) void this.#run(view, node, nowMs);
      else
        waits.push({
          ...{ kind: "node", name: node.name },
          reason: `its hooks of the watcher have been running for ${Math.round((nowMs - since) / 1000)} s`,
        });
    }
    return waits;
  }

  /** Never throws. */
  async #run(view: ConfigView, { uuid, name }: Node, nowMs: number): Promise<void> {
    const { node, fence, logger } = this.#options;
    this.#running.set(uuid, nowMs);
    const problem = (script: string | null, text: string): HookProblem => ({
      ...{ atS: nowMs / 1000, node: name, script },
      problem: text.slice(0, LONGEST_OUTPUT),
    });
    try {
      const { results } = await node(uuid).node.runHooks({
        step: { ...fence, jobId: 0, opcodeIndex: 0, step: `hooks/${HOOKS_PATH}/${nowMs}` },
        path: HOOKS_PATH,
        phase: "round",
        environment: { ...clusterEnvironment(view), GANETI_HOOKS_PATH: HOOKS_PATH },
      });
      const failed = results.filter(({ status }) => status === "fail");
      this.#ended.set(
        uuid,
        failed.map(({ script, output }) => problem(script, output)),
      );
      for (const { script, output } of failed)
        logger.warn({ node: name, script, output: output.slice(0, LONGEST_OUTPUT) }, "a hook of the watcher failed");
    } catch (error) {
      if (error instanceof StaleEpoch) return;
      logger.warn({ node: name, err: error }, "a node did not run its hooks of the watcher");
      this.#ended.set(uuid, [problem(null, error instanceof Error ? error.message : String(error))]);
    } finally {
      this.#running.delete(uuid);
    }
  }
}

/** NodeService: the node itself. */
import { setTimeout as delay } from "node:timers/promises";
import { type AgentHandlers, SERVICES } from "@gannet/rpc";
import type { LiveState } from "../live-state/live-state.ts";
import type { NodeFacts } from "../node-facts/node-facts.ts";
import type { Fence } from "./fence.ts";
import { parse, timeoutMs } from "./messages.ts";
import type { Steps } from "./steps.ts";

export function createNodeHandlers(parts: {
  readonly steps: Steps;
  readonly fence: Fence;
  readonly facts: NodeFacts;
  readonly liveState: LiveState;
}): AgentHandlers["node"] {
  const { steps, fence, facts, liveState } = parts;
  return {
    describe: (_request, { signal }) => facts.describe(signal),

    watch: async function* (request, { signal }) {
      await fence.admit(request.epoch);
      yield* liveState.watch(request, signal);
    },

    delay: async (request, { signal }) => {
      const durationMs = parse(timeoutMs, request.durationMs, "duration");
      return steps.run(
        {
          step: request.step,
          method: SERVICES.node.delay,
          resources: [],
          work: async (running) => {
            await delay(durationMs, undefined, { signal: running });
            return {};
          },
        },
        signal,
      );
    },
  };
}

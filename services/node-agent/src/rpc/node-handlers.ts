/** NodeService: the node itself. */
import { setTimeout as delay } from "node:timers/promises";
import { type AgentHandlers, SERVICES } from "@gannet/rpc";
import { z } from "zod";
import type { LiveState } from "../live-state/live-state.ts";
import type { NodeFacts } from "../node-facts/node-facts.ts";
import type { NodeVerification } from "../node-facts/node-verification.ts";
import type { Fence } from "./fence.ts";
import { parse, text, timeoutMs } from "./messages.ts";
import type { Steps } from "./steps.ts";

const MOST_ITEMS = 1_000;
const absolutePath = text.startsWith("/", "is not absolute");
const paths = z.array(absolutePath).max(MOST_ITEMS);
const names = z.array(text).max(MOST_ITEMS);
const fileStorage = z.array(z.object({ template: text, path: absolutePath })).max(MOST_ITEMS);

export function createNodeHandlers(parts: {
  readonly steps: Steps;
  readonly fence: Fence;
  readonly facts: NodeFacts;
  readonly liveState: LiveState;
  readonly verification: NodeVerification;
}): AgentHandlers["node"] {
  const { steps, fence, facts, liveState, verification } = parts;
  return {
    describe: (_request, { signal }) => facts.describe(signal),

    watch: async function* (request, { signal }) {
      await fence.admit(request.epoch);
      yield* liveState.watch(request, signal);
    },

    verify: async (request, { signal }) =>
      verification.verify(
        {
          files: parse(paths, request.files, "files"),
          executables: parse(paths, request.executables, "executables"),
          bridges: parse(names, request.bridges, "bridges"),
          fileStorage: parse(fileStorage, request.fileStorage, "file storage"),
        },
        signal,
      ),

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

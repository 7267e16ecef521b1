/** `/2/instances/N/console`: how a running instance's console is reached (spec/rapi.json, `special.console`). */
import { HttpError, HypervisorError, NodeUnreachable } from "@gannet/errors";
import { consoleDescription } from "../../nodes/console-description.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

/** Statuses in which a guest has a console. */
const ALIVE: ReadonlySet<string> = new Set(["running", "paused"]);
export function consoleHandlers({ configStore, liveState, console }: DirectContext): Handlers {
  return {
    instanceConsole: async (request) => {
      const view = configStore.view;
      const instance = view.findInstance(pathParam(request, "instance_name"));
      if (instance === undefined) throw notFound();
      const seen = liveState.instance(instance.name, instance.primaryNode);
      const node = seen && view.nodes.get(seen.node);
      if (node === undefined || !ALIVE.has(seen?.state.status ?? "")) throw unavailable();
      try {
        return jsonAnswer(consoleDescription(view.cluster, instance, node, await console(instance.name)));
      } catch (error) {
        // It stopped, or its node fell silent, since the live state was looked at.
        if (error instanceof HypervisorError || error instanceof NodeUnreachable) throw unavailable();
        throw error;
      }
    },
  };
}

function unavailable(): HttpError {
  return new HttpError(503, "Instance console unavailable");
}

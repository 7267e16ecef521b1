/** `/2/instances/N/console`: how a running instance's console is reached (spec/rapi.json, `special.console`). */
import { HttpError, HypervisorError, NodeUnreachable } from "@gannet/errors";
import { type Cluster, filledHvparams, type Instance, type Node } from "@gannet/objects";
import type { InstanceConsole } from "@gannet/rpc";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

/** Who logs in to a node to attach to a serial console (spec/os-iallocator-hooks.json, `console.user`). */
const CONSOLE_USER = "root";
/** Statuses in which a guest has a console. */
const ALIVE: ReadonlySet<string> = new Set(["running", "paused"]);
/** A graphical console that listens on every address of its node. */
const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

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
        return jsonAnswer(consoleObject(view.cluster, instance, node, await console(instance.name)));
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

/** The keys that each kind of console has (spec/os-iallocator-hooks.json, `console.required`). */
function consoleObject(
  cluster: Cluster,
  { name: instance, ...rest }: Instance,
  node: Node,
  console: InstanceConsole,
): object {
  const { kind, message, command, port, display } = console;
  const hvparams = filledHvparams(cluster, rest);
  switch (kind) {
    case "ssh":
      return { instance, kind, host: node.name, user: CONSOLE_USER, command };
    case "vnc":
      return { instance, kind, host: hostOf(hvparams.vnc_bind_address, node), port, display };
    case "spice":
      return { instance, kind, host: node.name, port };
    default:
      return { instance, kind: "msg", message };
  }
}

function hostOf(bindAddress: unknown, node: Node): string {
  return typeof bindAddress !== "string" || bindAddress === "" || ANY_ADDRESS.has(bindAddress)
    ? node.name
    : bindAddress;
}

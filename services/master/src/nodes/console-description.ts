/** A console as clients are told of it (spec/os-iallocator-hooks.json, `console.required`). */
import { type Cluster, filledHvparams, type Instance, type Node } from "@gannet/objects";
import type { InstanceConsole } from "@gannet/rpc";

/** Who logs in to a node to attach to a serial console (spec/os-iallocator-hooks.json, `console.user`). */
const CONSOLE_USER = "root";
/** A graphical console that listens on every address of its node. */
const ANY_ADDRESS: ReadonlySet<string> = new Set(["0.0.0.0", "::"]);

/**
 * The keys that each kind of console has.
 * @param node - on which the guest runs
 * @param console - what its agent answered
 */
export function consoleDescription(
  cluster: Cluster,
  instance: Instance,
  node: Node,
  console: InstanceConsole,
): Readonly<Record<string, unknown>> {
  const { kind, message, command, port, display } = console;
  const { name } = instance;
  const hvparams = filledHvparams(cluster, instance);
  switch (kind) {
    case "ssh":
      return { instance: name, kind, host: node.name, user: CONSOLE_USER, command };
    case "vnc":
      return { instance: name, kind, host: hostOf(hvparams.vnc_bind_address, node), port, display };
    case "spice":
      return { instance: name, kind, host: node.name, port };
    default:
      return { instance: name, kind: "msg", message };
  }
}

function hostOf(bindAddress: unknown, node: Node): string {
  return typeof bindAddress !== "string" || bindAddress === "" || ANY_ADDRESS.has(bindAddress)
    ? node.name
    : bindAddress;
}

/** How a running instance's console is reached: asked of its agent when a client wants to know. */
import { HypervisorError, OpPrereqError } from "@gannet/errors";
import type { ConfigView } from "@gannet/objects";
import type { InstanceConsole } from "@gannet/rpc";
import type { LiveState } from "../live-state/live-state-contract.ts";
import type { NodeDirectory } from "./node-directory.ts";

/** @throws OpPrereqError (unknown_entity), HypervisorError when it does not run, NodeUnreachable */
export async function instanceConsole(
  name: string,
  parts: { readonly view: ConfigView; readonly live: LiveState; readonly nodes: NodeDirectory },
): Promise<InstanceConsole> {
  const instance = parts.view.findInstance(name);
  if (instance === undefined) throw new OpPrereqError(`Instance '${name}' is not known`, "unknown_entity");
  const seen = parts.live.instance(instance.name, instance.primaryNode);
  if (seen === undefined) throw new HypervisorError(`Instance ${instance.name} is not running`);
  return await parts.nodes
    .client(seen.node)
    .instances.console({ name: instance.name, hypervisor: instance.hypervisor });
}

/** Hooks of operations on the cluster, its groups and its networks: which run on the master's node alone. */
import type { ConfigView, NodeGroup, Parameters } from "@gannet/objects";
import { type HookEnvironment, type HookPlan, withMaster } from "./hook-plan.ts";

/**
 * @param more - where other hooks run than on the master's node
 */
export function masterHooks(
  view: ConfigView,
  path: string,
  object: HookPlan["object"],
  environment: HookEnvironment,
  more: Partial<Pick<HookPlan, "pre" | "post">> = {},
): HookPlan {
  const master = withMaster(view);
  const target = object === "CLUSTER" ? { OP_TARGET: view.cluster.name } : {};
  return { path, object, environment: { ...target, ...environment }, pre: master, post: master, ...more };
}

/**
 * Of a network's connection to a group: they run on the group's nodes, whose bridges it is about.
 * @param nicparams - of the connection
 */
export function connectionHooks(
  view: ConfigView,
  path: "network-connect" | "network-disconnect",
  group: NodeGroup,
  { mode, link, vlan }: Parameters,
): HookPlan {
  const nodes = view.nodesOf(group.uuid).map(({ uuid }) => uuid);
  const environment = {
    GROUP_NAME: group.name,
    GROUP_NETWORK_MODE: mode ?? "",
    GROUP_NETWORK_LINK: link ?? "",
    GROUP_NETWORK_VLAN: vlan ?? "",
  };
  return { path, object: "NETWORK", environment, pre: nodes, post: nodes };
}

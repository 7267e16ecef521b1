/** Hooks of operations on one instance: where most of them run, and what all are told. */
import type { ConfigView, Instance } from "@gannet/objects";
import { type HookEnvironment, type HookPlan, withMasterAndInstance } from "./hook-plan.ts";
import { instanceEnvironment } from "./object-environment.ts";

/**
 * @param instance - as it was before the operation: it may have gone, or left its nodes
 * @param more - what else is told of it, and where other hooks run than on the master's node and the instance's
 */
export function instanceHooks(
  view: ConfigView,
  path: string,
  instance: Instance,
  more: { readonly environment?: HookEnvironment } & Partial<Pick<HookPlan, "pre" | "post">> = {},
): HookPlan {
  const now = view.instances.get(instance.uuid) ?? instance;
  const nodes = withMasterAndInstance(view, instance);
  return {
    path,
    object: "INSTANCE",
    environment: { ...instanceEnvironment(view, now), ...more.environment },
    pre: more.pre ?? nodes,
    post: more.post ?? nodes,
  };
}

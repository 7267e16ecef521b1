/**
 * Which of Xen's commands a node uses: a machine runs with one of them. The cluster's `xen_cmd` decides, which comes
 * with each guest; what is asked without a guest is asked of the command by which the node's guests were started.
 */
import { existsSync } from "node:fs";
import { HypervisorError } from "@gannet/errors";
import type { Toolstack, ToolstackKind } from "./toolstack.ts";
import type { XenOptions } from "./xen-options.ts";

type Options = Pick<XenOptions, "toolstack" | "toolstackPaths">;

/** A node whose own file says `xm` has that, whatever the cluster's default. @throws HypervisorError */
export function toolstackFor(asked: ToolstackKind, { toolstack, toolstackPaths }: Options): Toolstack {
  if (toolstack === "xl" && asked === "xm")
    throw new HypervisorError("xen_cmd is xm, but this node is set up for xl (xen.toolstack in its configuration)");
  const kind = toolstack ?? asked;
  const path = toolstackPaths[kind];
  if (!existsSync(path)) throw new HypervisorError(`xen_cmd is ${kind}, but this node has no ${path}`);
  return { kind, path };
}

/** @param used - by the guests that are on the node */
export function toolstackAtFirst(used: readonly ToolstackKind[], { toolstack, toolstackPaths }: Options): Toolstack {
  const isXm = !existsSync(toolstackPaths.xl) && existsSync(toolstackPaths.xm);
  const kind = toolstack ?? used[0] ?? (isXm ? "xm" : "xl");
  return { kind, path: toolstackPaths[kind] };
}

/** What the site's hooks are told of an operation, and where they run (spec/os-iallocator-hooks.json, `hooks`). */
import type { ConfigView, Instance, NodeUuid } from "@gannet/objects";

/** `null` is written `None`, a list's members are separated by blanks, as Ganeti's scripts know them. */
export type HookValue = string | number | boolean | null | readonly (string | number)[];

/** Variables without the prefix `GANETI_`. */
export type HookEnvironment = Readonly<Record<string, HookValue>>;

export interface HookPlan {
  /** Names the folders `<path>-pre.d` and `<path>-post.d`. */
  readonly path: string;
  /** As which operation the scripts know it, where that is not the opcode's id. */
  readonly opcode?: string;
  readonly object: "CLUSTER" | "NODE" | "INSTANCE" | "GROUP" | "NETWORK";
  readonly environment: HookEnvironment;
  /** Nodes on which hooks run before, and may refuse. */
  readonly pre: readonly NodeUuid[];
  /** Nodes on which they run afterwards. */
  readonly post: readonly NodeUuid[];
}

/** The master's node and these, each once. */
export function withMaster(view: ConfigView, ...nodes: readonly (NodeUuid | null | undefined)[]): readonly NodeUuid[] {
  return [...new Set([view.cluster.masterNode, ...nodes.flatMap((node) => node ?? [])])];
}

/** The master's node and those that the instance is on. */
export function withMasterAndInstance(view: ConfigView, instance: Instance): readonly NodeUuid[] {
  return withMaster(view, instance.primaryNode, ...view.secondaryNodes(instance));
}

/** Where everything of one run of the lab is: nodes, addresses, folders. */
import path from "node:path";
import { type Layout, layoutOf, type NodePlan } from "../../deploy/one-machine/layout.ts";

export const REPOSITORY = path.resolve(import.meta.dirname, "../..");

/** The lab's own network, in a namespace that nothing else sees. */
export const LAB_NETWORK = { bridge: "lab", address: "10.99.0.1", prefix: 24 } as const;
/** Agents listen on Ganeti's standard port. */
export const AGENT_PORT = 1811;
/** The bridge of each node, which its own interface and its guests join. */
export const NODE_BRIDGE = "br0";
export const VOLUME_GROUP = "xenvg";

export interface LabNode extends NodePlan {
  /** From 1. */
  readonly number: number;
  readonly tap: string;
  readonly mac: string;
  /** Folder that the node mounts as `/lab/node`: its configuration, its certificate and its log. */
  readonly dir: string;
}

export interface LabPlan {
  readonly layout: Layout;
  readonly nodes: readonly LabNode[];
}

/** @param workDir - of this run: empty at its start, removed at its end */
export function planOf(workDir: string, nodeCount: number): LabPlan {
  const layout = layoutOf(workDir, nodeCount);
  const nodes = layout.nodes.map((node, index) => ({
    ...node,
    number: index + 1,
    ip: `10.99.0.${index + 11}`,
    tap: `tap${index + 1}`,
    mac: `52:54:00:99:00:${String(index + 11)}`,
  }));
  return { layout: { ...layout, nodes }, nodes };
}

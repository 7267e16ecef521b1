/** The exports that nodes keep, for queries: nothing reports them, so they are asked for. */
import { GannetError } from "@gannet/errors";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import type { LiveValues } from "@gannet/query";

/**
 * Live values with the exports of the nodes; of one that does not answer they stay unknown.
 * @param exportsOn - asks a node's agent for the names of their instances
 */
export async function withExports(
  live: LiveValues,
  view: ConfigView,
  exportsOn: (node: NodeUuid) => Promise<readonly string[]>,
): Promise<LiveValues> {
  const found = new Map<NodeUuid, readonly string[]>();
  const asked = [...view.nodes.values()].filter(({ uuid, offline }) => !offline && live.node(uuid) !== undefined);
  await Promise.all(
    asked.map(async ({ uuid }) => {
      try {
        found.set(uuid, await exportsOn(uuid));
      } catch (error) {
        if (!(error instanceof GannetError)) throw error;
      }
    }),
  );
  return {
    ...live,
    node: (uuid) => {
      const [node, exports] = [live.node(uuid), found.get(uuid)];
      return node === undefined || exports === undefined ? node : { ...node, exports };
    },
  };
}

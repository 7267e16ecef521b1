/** `/2/nodes`: lists, one node, its role. */
import { type Node, ROLE_WORDS, roleOf } from "@gannet/objects";
import { nodeDetail } from "@gannet/query";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type HandlerRequest, type Handlers, pathParam } from "../handlers.ts";
import { notFound } from "../refusals.ts";

export function nodeHandlers({ configStore, liveState, rows }: DirectContext): Handlers {
  const live = liveValuesOf(liveState);
  const nodeOf = (request: HandlerRequest): Node => {
    const node = configStore.view.findNode(pathParam(request, "node_name"));
    if (node === undefined) throw notFound();
    return node;
  };
  return {
    listNodes: ({ params }) => (params.bulk === true ? rows.nodes.bulk() : rows.nodes.plain()),
    getNode: (request) => jsonAnswer(nodeDetail(nodeOf(request), configStore.view, live)),
    getNodeRole: (request) => jsonAnswer(ROLE_WORDS[roleOf(configStore.view.cluster, nodeOf(request))]),
  };
}

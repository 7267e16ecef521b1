/** `/2/networks`: lists, and one network. */
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { rowAnswer } from "../row-cache.ts";

export function networkHandlers({ configStore, rows }: DirectContext): Handlers {
  return {
    listNetworks: ({ params }) => (params.bulk === true ? rows.networks.bulk() : rows.networks.plain()),
    getNetwork: (request) => rowAnswer(rows.networks, configStore.view.findNetwork(pathParam(request, "network_name"))),
  };
}

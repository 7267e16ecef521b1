/** `/2/instances`: lists, and one instance. */
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { rowAnswer } from "../row-cache.ts";

export function instanceHandlers({ configStore, rows }: DirectContext): Handlers {
  return {
    listInstances: ({ params }) => (params.bulk === true ? rows.instances.bulk() : rows.instances.plain()),
    getInstance: (request) =>
      rowAnswer(rows.instances, configStore.view.findInstance(pathParam(request, "instance_name"))),
  };
}

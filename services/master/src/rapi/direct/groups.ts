/** `/2/groups`: lists, and one node group. */
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { rowAnswer } from "../row-cache.ts";

export function groupHandlers({ configStore, rows }: DirectContext): Handlers {
  return {
    listGroups: ({ params }) => (params.bulk === true ? rows.groups.bulk() : rows.groups.plain()),
    getGroup: (request) => rowAnswer(rows.groups, configStore.view.findGroup(pathParam(request, "group_name"))),
  };
}

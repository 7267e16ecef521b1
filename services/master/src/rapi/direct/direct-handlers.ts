/** Every call that is answered at once, by noun. */
import type { DirectContext } from "../direct-context.ts";
import type { Handlers } from "../handlers.ts";
import { clusterHandlers } from "./cluster.ts";
import { consoleHandlers } from "./console.ts";
import { filterHandlers } from "./filters.ts";
import { groupHandlers } from "./groups.ts";
import { instanceHandlers } from "./instances.ts";
import { jobHandlers } from "./jobs.ts";
import { joinHandlers } from "./join.ts";
import { masterHandlers } from "./master.ts";
import { networkHandlers } from "./networks.ts";
import { nodeHandlers } from "./nodes.ts";
import { openApiHandlers } from "./openapi.ts";
import { osHandlers } from "./os.ts";
import { planHandlers } from "./plans.ts";
import { queryHandlers } from "./query.ts";
import { rootHandlers } from "./root.ts";
import { tagHandlers } from "./tags.ts";
import { tokenHandlers } from "./tokens.ts";
import { watcherHandlers } from "./watcher.ts";

export function directHandlers(context: DirectContext): Handlers {
  return {
    ...rootHandlers(),
    ...openApiHandlers(),
    ...clusterHandlers(context),
    ...osHandlers(context),
    ...nodeHandlers(context),
    ...groupHandlers(context),
    ...networkHandlers(context),
    ...instanceHandlers(context),
    ...consoleHandlers(context),
    ...tagHandlers(context),
    ...joinHandlers(context),
    ...tokenHandlers(context),
    ...jobHandlers(context),
    ...filterHandlers(context),
    ...masterHandlers(context),
    ...planHandlers(context),
    ...watcherHandlers(context),
    ...queryHandlers(context),
  };
}

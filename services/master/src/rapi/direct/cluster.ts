/** `/2/info`: the cluster. */
import type { DirectContext } from "../direct-context.ts";
import type { Handlers } from "../handlers.ts";

export function clusterHandlers({ rows }: DirectContext): Handlers {
  return { info: () => rows.info() };
}

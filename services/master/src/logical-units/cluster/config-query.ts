import { OpPrereqError } from "@gannet/errors";
import { ClusterConfigQuery } from "@gannet/opcodes";
import { RESOURCES } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";
import { VERSIONS } from "../../rapi/versions.ts";
import { watcherPausedUntil } from "../../watcher/pause.ts";

/** Values of the cluster, in the order of the fields asked for; null where there is none. */
export const clusterConfigQuery = implement(ClusterConfigQuery, {
  locks: () => [],

  checkPrereq(_ctx, op) {
    return op.output_fields.map((name) => {
      const field = RESOURCES.cluster.fields.get(name);
      if (field === undefined) throw new OpPrereqError(`Unknown output field '${name}'`, "wrong_input");
      return field;
    });
  },

  async exec(ctx, _op, fields) {
    const facts = {
      ...VERSIONS,
      queueDrained: await ctx.isQueueDrained(),
      watcherPausedUntil: watcherPausedUntil(ctx.config, ctx.now()),
    };
    return fields.map((field) => field.cell({ view: ctx.config, facts })[1]);
  },
});

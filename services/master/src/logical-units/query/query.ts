import { OpPrereqError } from "@gannet/errors";
import { Query } from "@gannet/opcodes";
import { prepareQuery } from "@gannet/query";
import { implement } from "../../executor/logical-unit.ts";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { withExports } from "../../nodes/known-exports.ts";
import { VERSIONS } from "../../rapi/versions.ts";
import { watcherPausedUntil } from "../../watcher/pause.ts";

/** What `/2/query` answers, as a job. Jobs and locks are asked for there alone: a job would look at itself. */
export const query = implement(Query, {
  locks: () => [],

  checkPrereq(_ctx, { what, fields, qfilter, use_locking: locking }) {
    if (what === "job" || what === "lock")
      throw new OpPrereqError(`No job queries ${what}s: ask /2/query/${what}`, "wrong_input");
    if (locking) throw new OpPrereqError("Queries take no locks: leave out the 'use_locking' parameter", "wrong_input");
    return prepareQuery({ what, fields, filter: qfilter });
  },

  async exec(ctx, { what }, prepared) {
    const live = liveValuesOf(ctx.live);
    const exportsOn = async (node: Parameters<typeof ctx.node>[0]) =>
      (await ctx.node(node).transfers.listExports({}, { signal: ctx.signal })).instanceNames;
    const { fields, data } = prepared.run({
      view: ctx.config,
      live: what === "export" ? await withExports(live, ctx.config, exportsOn) : live,
      facts: {
        ...VERSIONS,
        queueDrained: await ctx.isQueueDrained(),
        watcherPausedUntil: watcherPausedUntil(ctx.config, ctx.now()),
      },
      ...{ jobs: [], locks: [] },
    });
    return {
      fields: fields.map((field) => ({ ...field })),
      data: data.map((row) => row.map(([status, value]): [typeof status, unknown] => [status, value])),
    };
  },
});

/** `/2/filters`: the rules by which jobs are held back or refused (spec/jobs.json, `filters`). No job changes them. */
import { randomUUID } from "node:crypto";
import { HttpError } from "@gannet/errors";
import type { FilterRule } from "@gannet/objects";
import type { FilterRuleBody } from "@gannet/opcodes";
import { filterRow } from "@gannet/query";
import { compilePredicates } from "../../scheduling/filter-predicates.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import { type Handlers, pathParam } from "../handlers.ts";
import { leadersFence } from "../leaders-fence.ts";
import { notFound } from "../refusals.ts";

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** What Ganeti's daemon adds to a rule's reason trail. */
const REASON_SOURCE = "luxid";

export function filterHandlers({ configStore, ledger, leader, clock }: DirectContext): Handlers {
  const known = (uuid: string): FilterRule => {
    const rule = configStore.view.filters.get(uuid);
    if (rule === undefined) throw notFound();
    return rule;
  };

  const put = async (uuid: string, { priority, predicates, action, reason }: FilterRuleBody) => {
    const watermark = await ledger.lastId();
    compilePredicates(predicates, watermark);
    const nowMs = clock();
    const reasonTrail: FilterRule["reasonTrail"] = [...reason, [REASON_SOURCE, "", nowMs * 1_000_000]];
    await configStore.commit(
      (view) => {
        const { ctime = nowMs / 1000, serialNo = 0 } = view.filters.get(uuid) ?? {};
        const stamps = { ctime, mtime: ctime, serialNo };
        return [{ kind: "filter", put: { uuid, watermark, priority, predicates, action, reasonTrail, ...stamps } }];
      },
      leadersFence(leader, "changes filters"),
    );
    return jsonAnswer(uuid);
  };

  return {
    listFilters: ({ params }) => {
      const rules = [...configStore.view.filters.values()].sort((a, b) => (a.uuid < b.uuid ? -1 : 1));
      const row = params.bulk === true ? filterRow : ({ uuid }: FilterRule) => ({ uuid, uri: `/2/filters/${uuid}` });
      return jsonAnswer(rules.map(row));
    },
    getFilter: (request) => jsonAnswer(filterRow(known(pathParam(request, "filter_uuid")))),
    addFilter: ({ body }) => put(randomUUID(), body as FilterRuleBody),
    replaceFilter: (request) => {
      const uuid = pathParam(request, "filter_uuid");
      if (!UUID.test(uuid))
        throw new HttpError(400, `A filter rule is named by a UUID in lower case, not by '${uuid}'`);
      return put(uuid, request.body as FilterRuleBody);
    },
    deleteFilter: async (request) => {
      const { uuid } = known(pathParam(request, "filter_uuid"));
      await configStore.commit(
        () => [{ kind: "filter", remove: known(uuid) }],
        leadersFence(leader, "changes filters"),
      );
      return jsonAnswer(null);
    },
  };
}

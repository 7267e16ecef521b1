/** `/2/plans`: what could be done with the cluster as it is now (Gannet's own; htools(1) are what they compare with). */
import { allocatorCluster, type BalanceMove } from "@gannet/allocator";
import { HttpError } from "@gannet/errors";
import { DISK_TEMPLATE_TRAITS, type DiskTemplate } from "@gannet/objects";
import type { RawParams } from "@gannet/opcodes";
import { knownResources } from "../../allocator/node-resources.ts";
import { Planner } from "../../plans/planner.ts";
import type { PlanKind, PlanOptions } from "../../plans/plans.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import type { HandlerRequest, Handlers } from "../handlers.ts";

export function planHandlers({ configStore, liveState, clock }: DirectContext): Handlers {
  const planner = new Planner();
  const plan = <Kind extends PlanKind>(kind: Kind, { params, signal }: HandlerRequest, options: PlanOptions<Kind>) => {
    const { view } = configStore;
    const unknown = ((params.group as readonly string[] | undefined) ?? []).find(
      (group) => view.findGroup(group) === undefined,
    );
    if (unknown !== undefined) throw new HttpError(400, `There is no node group ${unknown}`);
    const template = (params.disk_template as DiskTemplate | undefined) ?? view.cluster.enabledDiskTemplates[0];
    const { storageType } = DISK_TEMPLATE_TRAITS[template ?? "diskless"];
    const cluster = allocatorCluster(view, knownResources({ config: view, live: liveState }, storageType));
    return planner.plan({ kind, cluster, options }, signal);
  };
  return {
    balancePlan: async (request) => {
      const { group, select, exclude, max_moves, evacuate, no_disk_moves, no_instance_moves } = request.params;
      const groups = await plan("balance", request, {
        ...given({ groups: group, select, exclude, maxMoves: max_moves }),
        mode: evacuate === true ? "evacuate" : "balance",
        diskMoves: no_disk_moves === true ? "forbidden" : "allowed",
        instanceMoves: no_instance_moves === true ? "forbidden" : "allowed",
      });
      return jsonAnswer(
        groups.map((balance) => ({
          group: balance.group,
          score_before: balance.scoreBefore,
          score_after: balance.scoreAfter,
          moves: balance.moves.map(moveRow),
          job_sets: balance.jobSets,
        })),
      );
    },
    capacityPlan: async (request) => {
      const { group, disk_template } = request.params;
      const templates = disk_template === undefined ? undefined : [disk_template];
      const counts = await plan("capacity", request, given({ groups: group, templates }));
      return jsonAnswer(
        counts.map(({ group: name, template, spec, count, limitedBy, scoreBefore, scoreAfter }) => ({
          group: name,
          disk_template: template,
          spec,
          count,
          limited_by: limitedBy,
          score_before: scoreBefore,
          score_after: scoreAfter,
        })),
      );
    },
    rebootPlan: async (request) => {
      const { group, node_tags, offline } = request.params;
      const { cluster, nodes } = configStore.view;
      const options = given({ groups: group, nodeTags: node_tags, master: nodes.get(cluster.masterNode)?.name });
      return jsonAnswer(await plan("reboots", request, { ...options, guests: offline === true ? "offline" : "live" }));
    },
    squeezePlan: async (request) => {
      const { target, minimal } = request.params;
      const { switchOff, switchOn } = await plan("squeeze", request, given({ target, minimal }));
      return jsonAnswer({
        switch_off: switchOff.map(({ node, moves }) => ({ node, moves: moves.map(moveRow) })),
        switch_on: switchOn ?? null,
      });
    },
    repairPlan: async (request) => {
      const repairs = await plan("repairs", request, {
        ...given({ iallocator: request.params.iallocator }),
        now: clock() / 1000,
      });
      return jsonAnswer(
        repairs.map(({ instance, type, reason, job }) => ({ instance, type, reason, opcodes: job ?? null })),
      );
    },
  };
}

function moveRow({ instance, from, to, score, job }: BalanceMove) {
  return { instance, from, to, score, opcodes: job };
}

/** What the request has set; the declaration has checked its types. */
function given(options: RawParams): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

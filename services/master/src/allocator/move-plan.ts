/** What becomes of a plan of moves (`node-evacuate`, `change-group`): jobs, and what is told of it in the job's log. */
import type { MovePlan } from "@gannet/allocator";
import { findOpcode, type WireOpcode } from "@gannet/opcodes";
import type { JobFeedback } from "../executor/context.ts";

/** Plans as one. */
export function joinedPlans(plans: readonly MovePlan[]): MovePlan {
  return {
    moved: plans.flatMap(({ moved }) => moved),
    failed: plans.flatMap(({ failed }) => failed),
    jobs: plans.flatMap(({ jobs }) => jobs),
  };
}

/** @param earlyRelease - for the opcodes of the plan that have the parameter */
export function jobsOfPlan(
  { jobs }: MovePlan,
  { earlyRelease }: { readonly earlyRelease: boolean },
): readonly (readonly WireOpcode[])[] {
  return jobs.map((opcodes) =>
    opcodes.map((opcode) => {
      const takesIt = Object.hasOwn(findOpcode(opcode.OP_ID)?.params ?? {}, "early_release");
      return takesIt ? { ...opcode, early_release: earlyRelease } : { ...opcode };
    }),
  );
}

/** @param undone - "evacuate", "move": what could not be done with those that have no place */
export function tellOfPlan(feedback: JobFeedback, { moved, failed }: MovePlan, undone: string): void {
  if (failed.length > 0) {
    const reasons = failed.map(([name, reason]) => `${name} (${reason ?? "no reason given"})`).join(", ");
    feedback.warning(`Unable to ${undone} instances ${reasons}`);
  }
  if (moved.length > 0) {
    const places = moved.map(([name, , nodes]) => `${name} (to ${nodes.join(", ")})`).join(", ");
    feedback.info(`Instances to be moved: ${places}`);
  }
}

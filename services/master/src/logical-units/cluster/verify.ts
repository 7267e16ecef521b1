import type { WireOpcode } from "@gannet/opcodes";
import { ClusterVerify } from "@gannet/opcodes";
import { submitting } from "../../executor/follow-up-jobs.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownGroup } from "../group/lookups.ts";

/** A job for the configuration, and one for each group once that is over; one group's alone where it is named. */
export const clusterVerify = implement(ClusterVerify, {
  locks: () => [],

  checkPrereq({ config }, op) {
    if (op.group_name) return [knownGroup(config, op.group_name)];
    return [...config.groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  },

  async exec(_ctx, op, groups) {
    const common = {
      debug_simulate_errors: op.debug_simulate_errors,
      error_codes: op.error_codes,
      ignore_errors: op.ignore_errors,
      verbose: op.verbose,
    };
    const ofGroup = (name: string, depends: WireOpcode["depends"]): WireOpcode => ({
      OP_ID: "OP_CLUSTER_VERIFY_GROUP",
      group_name: name,
      ...common,
      skip_checks: op.skip_checks,
      verify_clutter: op.verify_clutter,
      depends,
    });
    if (op.group_name) return submitting(groups.map(({ name }) => [ofGroup(name, null)]));
    return submitting([
      [{ OP_ID: "OP_CLUSTER_VERIFY_CONFIG", ...common }],
      // Counted back from each job to the first; whatever that one finds, the others run.
      ...groups.map(({ name }, index) => [ofGroup(name, [[-(index + 1), []]])]),
    ]);
  },
});

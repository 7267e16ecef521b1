import { OpPrereqError } from "@gannet/errors";
import { GroupSetParams } from "@gannet/opcodes";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { changedGroup, type GroupSettings } from "./group-changes.ts";
import { withGroup } from "./group-rows.ts";
import { groupInstances, groupLocks, knownGroup } from "./lookups.ts";
import { newPolicyViolations } from "./policy-violations.ts";

/** What the result tells of, as text, and nothing else: so it is in Ganeti. */
const TOLD = ["ndparams", "diskparams"] as const;
const SETTINGS: readonly (keyof GroupSettings)[] = [
  "alloc_policy",
  "ndparams",
  "diskparams",
  "hv_state",
  "disk_state",
  "ipolicy",
];

export const groupSetParams = implement(GroupSetParams, {
  locks(op, view) {
    const group = view.findGroup(op.group_name);
    const instances = group === undefined ? [] : groupInstances(view, group);
    return [...instances.map(({ name }) => shared.instance(name)), ...groupLocks(view, op.group_name, exclusive)];
  },

  checkPrereq({ config }, op) {
    if (SETTINGS.every((setting) => op[setting] === null))
      throw new OpPrereqError("Please pass at least one modification", "wrong_input");
    const present = knownGroup(config, op.group_name);
    const group = changedGroup(config, present, op);
    return { uuid: present.uuid, name: present.name, warnings: newPolicyViolations(config, { group }) };
  },

  hooks: (view, op, { name }) =>
    masterHooks(view, "group-modify", "GROUP", { GROUP_NAME: name, NEW_ALLOC_POLICY: op.alloc_policy }),

  async exec(ctx, op, { uuid, warnings }) {
    for (const warning of warnings) ctx.feedback.warning(warning);
    const view = await ctx.commit((now) => withGroup(now, uuid, (group) => changedGroup(now, group, op)));
    const group = view.groups.get(uuid);
    return TOLD.filter((name) => op[name] !== null).map((name): [string, string] => [
      name,
      JSON.stringify(group?.[name]),
    ]);
  },
});

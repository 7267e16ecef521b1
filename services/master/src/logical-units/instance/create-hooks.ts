/** What the site's hooks are told of a new instance, before and after there is one. Pure. */
import type { ConfigView, Instance } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { type HookPlan, withMaster } from "../../hooks/hook-plan.ts";
import { type HookDisk, instanceEnvironment } from "../../hooks/object-environment.ts";
import type { Creation, MadeFrom } from "./creation.ts";

/** In the place of an address that is drawn when the instance is written. */
const NOT_DRAWN = "auto";

export function createHooks(
  view: ConfigView,
  op: Op<typeof InstanceCreate>,
  { plan, made, draft, source }: Pick<Creation, "plan" | "made" | "draft" | "source">,
): HookPlan {
  const nodes = withMaster(view, plan.node.uuid, plan.secondary?.uuid);
  const row = view.instances.get(draft.uuid);
  // What is only reserved yet is told of as it is to be.
  const there = row?.forthcoming === true && made.from === "reservation" ? undefined : row;
  return {
    path: "instance-add",
    object: "INSTANCE",
    environment: {
      ...(there === undefined ? draftEnvironment(view, made, draft) : instanceEnvironment(view, there)),
      ...(there === undefined ? { INSTANCE_SECONDARIES: plan.secondary === null ? [] : [plan.secondary.name] } : {}),
      ADD_MODE: op.mode,
      ...(source?.kind !== "export"
        ? {}
        : { SRC_NODE: source.node.name, SRC_PATH: source.name, SRC_IMAGES: disksOf(made).map(({ index }) => index) }),
    },
    pre: nodes,
    post: nodes,
  };
}

function disksOf(made: MadeFrom) {
  return made.from === "nothing" ? made.plan.disks : [];
}

function draftEnvironment(view: ConfigView, made: MadeFrom, draft: Instance): HookPlan["environment"] {
  if (made.from === "reservation") return instanceEnvironment(view, draft);
  const { plan, identity } = made;
  const nics = draft.nics.map((nic, index) => {
    const asked = plan.nics.drafts[index];
    return { ...nic, mac: asked?.mac ?? NOT_DRAWN, ip: asked?.ip ?? null };
  });
  const disks = plan.disks.map(
    ({ name, sizeMib, mode, index }): HookDisk => ({
      ...{ name, sizeMib, mode, template: plan.template, logicalId: [], children: [] },
      uuid: identity.disks[index]?.uuid ?? ("" as HookDisk["uuid"]),
    }),
  );
  return instanceEnvironment(view, { ...draft, nics }, disks);
}

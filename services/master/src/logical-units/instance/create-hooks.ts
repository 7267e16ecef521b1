/** What the site's hooks are told of a new instance, before and after there is one. Pure. */
import type { ConfigView, Instance } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { type HookPlan, withMaster } from "../../hooks/hook-plan.ts";
import { type HookDisk, instanceEnvironment } from "../../hooks/object-environment.ts";
import type { CreatePlan } from "./create-plan.ts";
import { drawnNics, instanceRow, type NewIdentity } from "./create-rows.ts";
import type { ImportSource } from "./import-source.ts";

/** In the place of an address that is drawn when the instance is written. */
const NOT_DRAWN = "auto";

export function createHooks(
  view: ConfigView,
  op: Op<typeof InstanceCreate>,
  { plan, identity, source }: { plan: CreatePlan; identity: NewIdentity; source: ImportSource | null },
): HookPlan {
  const nodes = withMaster(view, plan.node.uuid, plan.secondary?.uuid);
  const there = view.instances.get(identity.instance);
  return {
    path: "instance-add",
    object: "INSTANCE",
    environment: {
      ...(there === undefined ? draftEnvironment(view, plan, identity) : instanceEnvironment(view, there)),
      ADD_MODE: op.mode,
      ...(source === null
        ? {}
        : { SRC_NODE: source.node.name, SRC_PATH: source.name, SRC_IMAGES: plan.disks.map(({ index }) => index) }),
    },
    pre: nodes,
    post: nodes,
  };
}

function draftEnvironment(view: ConfigView, plan: CreatePlan, identity: NewIdentity): HookPlan["environment"] {
  const nics = drawnNics(plan, view).nics.map((nic, index) => {
    const asked = plan.nics.drafts[index];
    return { ...nic, mac: asked?.mac ?? NOT_DRAWN, ip: asked?.ip ?? null };
  });
  const draft: Instance = instanceRow(plan, { ...identity, disks: [] }, nics, null);
  const disks = plan.disks.map(
    ({ name, sizeMib, mode, index }): HookDisk => ({
      ...{ name, sizeMib, mode, template: plan.template, logicalId: [], children: [] },
      uuid: identity.disks[index]?.uuid ?? ("" as HookDisk["uuid"]),
    }),
  );
  return {
    ...instanceEnvironment(view, draft, disks),
    INSTANCE_SECONDARIES: plan.secondary === null ? [] : [plan.secondary.name],
  };
}

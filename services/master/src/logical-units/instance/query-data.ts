import { InstanceQueryData } from "@gannet/opcodes";
import { instanceInfo } from "@gannet/query";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { diskStatuses } from "./disk-statuses.ts";
import { knownOrForthcoming } from "./lookups.ts";

/** The locks make a live answer consistent; a static one needs none. */
export const instanceQueryData = implement(InstanceQueryData, {
  locks(op, view) {
    if (op.static && !op.use_locking) return [];
    if (op.instances.length === 0) return [shared.all("instance"), shared.all("nodegroup"), shared.all("node")];
    return op.instances.flatMap((name) => {
      const instance = view.findInstance(name);
      if (instance === undefined) return [];
      const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)];
      const groups = new Set(nodes.flatMap((uuid) => view.nodes.get(uuid)?.group ?? []));
      return [shared.instance(instance.name), ...[...groups].map(shared.nodegroup), ...nodes.map(shared.node)];
    });
  },

  checkPrereq(ctx, op) {
    const { config } = ctx;
    if (op.instances.length === 0) return [...config.instances.values()];
    return op.instances.map((name) => knownOrForthcoming(config, name));
  },

  async exec(ctx, op, instances) {
    const rows = await Promise.all(
      instances.map(async (instance) => {
        const now = op.static
          ? null
          : {
              live: liveValuesOf(ctx.live),
              disks: await diskStatuses(ctx, instance),
            };
        return [instance.name, instanceInfo(instance, ctx.config, now)] as const;
      }),
    );
    return Object.fromEntries(rows);
  },
});

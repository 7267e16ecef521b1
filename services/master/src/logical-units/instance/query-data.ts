import { DISK_TEMPLATE_TRAITS, type DiskUuid, type Instance } from "@gannet/objects";
import { InstanceQueryData } from "@gannet/opcodes";
import { type DiskStatus, instanceInfo } from "@gannet/query";
import type { ExecContext } from "../../executor/context.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { liveValuesOf } from "../../live-state/live-values.ts";
import { knownInstance } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";

/** Ganeti's number of a local disk that is all right. */
const LOCAL_DISK_OK = 0;

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
    return op.instances.map((name) => knownInstance(config, name));
  },

  async exec(ctx, op, instances) {
    const rows = await Promise.all(
      instances.map(async (instance) => {
        const now = op.static
          ? null
          : {
              live: liveValuesOf(ctx.live),
              disks: { primary: await diskStatuses(ctx, instance), secondary: new Map<DiskUuid, DiskStatus>() },
            };
        return [instance.name, instanceInfo(instance, ctx.config, now)] as const;
      }),
    );
    return Object.fromEntries(rows);
  },
});

/** What the primary node says of each disk; a disk that it cannot be asked for is left out. */
async function diskStatuses(ctx: ExecContext, instance: Instance): Promise<ReadonlyMap<DiskUuid, DiskStatus>> {
  const view = ctx.config;
  if (!ctx.live.node(instance.primaryNode).reachable) return new Map();
  const statuses = await Promise.all(
    view.disksOf(instance).map(async (disk, index): Promise<readonly [DiskUuid, DiskStatus][]> => {
      const device = blockDeviceMessage(view, instance, disk, index);
      const { exists } = await ctx.node(instance.primaryNode).blockDevices.status({ device }, { signal: ctx.signal });
      const path = DISK_TEMPLATE_TRAITS[disk.template].isFileBased ? String(disk.logicalId[1]) : "";
      return exists ? [[disk.uuid, [path, null, null, null, null, false, LOCAL_DISK_OK]]] : [];
    }),
  );
  return new Map(statuses.flat());
}

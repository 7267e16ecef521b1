import type { ConfigChange } from "@gannet/config-store";
import type { ConfigView, Disk, DiskUuid, Instance } from "@gannet/objects";
import { ClusterRepairDiskSizes } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { type PlacedDisk, placedDisks } from "../instance/disk-ends.ts";
import { knownInstance } from "../instance/lookups.ts";
import { blockDeviceMessage } from "../instance/messages.ts";

/** A disk that is recorded with another size than its node reports. */
interface WrongSize {
  readonly instance: Instance;
  readonly index: number;
  readonly disk: DiskUuid;
  readonly sizeMib: number;
}

/** What a node cannot tell is told of in the job's log and left as it is. */
export const clusterRepairDiskSizes = implement(ClusterRepairDiskSizes, {
  locks(op, view) {
    if (op.instances.length === 0) return [exclusive.all("instance"), shared.all("node-res")];
    const instances = op.instances.flatMap((name) => view.findInstance(name) ?? []);
    return [
      ...[...new Set(instances.map(({ name }) => name))].map(exclusive.instance),
      ...[...new Set(instances.map(({ primaryNode }) => primaryNode))].map(shared.nodeRes),
    ];
  },

  checkPrereq({ config }, op) {
    if (op.instances.length === 0) return [...config.instances.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return [...new Set(op.instances.map((name) => knownInstance(config, name)))];
  },

  async exec(ctx, _op, instances) {
    const wrong: WrongSize[] = [];
    for (const instance of instances) {
      const sizes = await Promise.all(
        placedDisks(ctx.config, instance).map((placed) => wrongSize(ctx, instance, placed)),
      );
      wrong.push(...sizes.flatMap((each) => each ?? []));
    }
    await ctx.commit((view) => wrong.flatMap((each) => corrected(view, each)));
    return wrong.map(({ instance, index, sizeMib }): [string, number, string, number] => [
      instance.name,
      index,
      "size",
      sizeMib,
    ]);
  },
});

async function wrongSize(
  ctx: ExecContext,
  instance: Instance,
  { disk, index }: PlacedDisk,
): Promise<WrongSize | undefined> {
  const where = `Disk ${index} of instance ${instance.name}`;
  let sizeMib = 0;
  const failure = await failureOf(ctx, async () => {
    // A DRBD disk is as large as its data volume.
    const measured = disk.children[0] ?? disk;
    const device = blockDeviceMessage(ctx.config, instance, measured, index, instance.primaryNode);
    ({ sizeMib } = await ctx.node(instance.primaryNode).blockDevices.status({ device }, { signal: ctx.signal }));
  });
  if (failure !== undefined || sizeMib === 0) {
    ctx.feedback.warning(`${where} did not return size information, ignoring${failure ? `: ${failure.message}` : ""}`);
    return undefined;
  }
  if (sizeMib === disk.sizeMib) return undefined;
  ctx.feedback.info(`${where} has mismatched size, correcting: recorded ${disk.sizeMib}, actual ${sizeMib}`);
  return { instance, index, disk: disk.uuid, sizeMib };
}

function corrected(view: ConfigView, { disk: uuid, sizeMib }: WrongSize): readonly ConfigChange[] {
  const disk = view.disks.get(uuid);
  if (disk === undefined) return [];
  const [data, ...others] = disk.children;
  const children: Disk["children"] = data === undefined ? [] : [{ ...data, sizeMib }, ...others];
  return [{ kind: "disk", put: { ...disk, sizeMib, children } }];
}

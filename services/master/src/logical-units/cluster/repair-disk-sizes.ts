import type { ConfigChange } from "@gannet/config-store";
import type { ConfigView, Disk, DiskUuid, Instance } from "@gannet/objects";
import { ClusterRepairDiskSizes } from "@gannet/opcodes";
import type { StorageVolume } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { type PlacedDisk, placedDisks } from "../instance/disk-ends.ts";
import { measuredSizeMib } from "../instance/disk-sizes.ts";
import { hasExclusiveStorage } from "../instance/exclusive-storage.ts";
import { knownInstance } from "../instance/lookups.ts";

/** What a disk is recorded with, and what its node reports instead. */
interface Correction {
  readonly instance: Instance;
  readonly index: number;
  readonly disk: DiskUuid;
  readonly what: "size" | "spindles";
  /** A size is in MiB. */
  readonly value: number;
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
    if (op.instances.length === 0)
      return [...config.instances.values()]
        .filter(({ forthcoming }) => !forthcoming)
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    return [...new Set(op.instances.map((name) => knownInstance(config, name)))];
  },

  async exec(ctx, _op, instances) {
    const wrong: Correction[] = [];
    for (const instance of instances) {
      const placed = placedDisks(ctx.config, instance);
      const found = await Promise.all([
        ...placed.map((each) => wrongSize(ctx, instance, each)),
        wrongSpindles(ctx, instance, placed),
      ]);
      wrong.push(...found.flat());
    }
    await ctx.commit((view) =>
      [...Map.groupBy(wrong, ({ disk }) => disk)].flatMap(([disk, all]) => corrected(view, disk, all)),
    );
    return wrong.map(({ instance, index, what, value }): [string, number, string, number] => [
      ...([instance.name, index, what, value] as const),
    ]);
  },
});

async function wrongSize(
  ctx: ExecContext,
  instance: Instance,
  { disk, index }: PlacedDisk,
): Promise<readonly Correction[]> {
  const where = `Disk ${index} of instance ${instance.name}`;
  let sizeMib = 0;
  const failure = await failureOf(ctx, async () => {
    sizeMib = await measuredSizeMib(ctx, instance, { disk, index });
  });
  if (failure !== undefined || sizeMib === 0) {
    ctx.feedback.warning(`${where} did not return size information, ignoring${failure ? `: ${failure.message}` : ""}`);
    return [];
  }
  if (sizeMib === disk.sizeMib) return [];
  ctx.feedback.info(`${where} has mismatched size, correcting: recorded ${disk.sizeMib}, actual ${sizeMib}`);
  return [{ instance, index, disk: disk.uuid, what: "size", value: sizeMib }];
}

/** Of plain disks where each has physical volumes of its own: these are its spindles. */
async function wrongSpindles(
  ctx: ExecContext,
  instance: Instance,
  placed: readonly PlacedDisk[],
): Promise<readonly Correction[]> {
  const plain = placed.filter(({ disk }) => disk.template === "plain");
  if (plain.length === 0 || !hasExclusiveStorage(ctx.config, instance.primaryNode)) return [];
  let volumes: readonly StorageVolume[] = [];
  const failure = await failureOf(ctx, async () => {
    ({ volumes } = await ctx.node(instance.primaryNode).storage.listVolumes({}, { signal: ctx.signal }));
  });
  if (failure !== undefined)
    ctx.feedback.warning(`The spindles of ${instance.name}'s disks are not known: ${failure.message}`);
  return plain.flatMap(({ index, disk }): Correction[] => {
    const [group, name] = disk.logicalId;
    const volume = volumes.find((each) => each.volumeGroup === group && each.name === name);
    const value = new Set(volume?.devices).size;
    if (value === 0 || value === disk.spindles) return [];
    const recorded = disk.spindles ?? "none";
    ctx.feedback.info(
      `Disk ${index} of instance ${instance.name} has mismatched spindles, correcting: recorded ${recorded}, actual ${value}`,
    );
    return [{ instance, index, disk: disk.uuid, what: "spindles", value }];
  });
}

function corrected(view: ConfigView, uuid: DiskUuid, corrections: readonly Correction[]): readonly ConfigChange[] {
  const disk = view.disks.get(uuid);
  if (disk === undefined) return [];
  const actual = (what: Correction["what"]) => corrections.find((each) => each.what === what)?.value;
  const sizeMib = actual("size") ?? disk.sizeMib;
  const spindles = actual("spindles") ?? disk.spindles;
  const [data, ...others] = disk.children;
  const children: Disk["children"] = data === undefined ? [] : [{ ...data, sizeMib }, ...others];
  return [{ kind: "disk", put: { ...disk, sizeMib, spindles, children } }];
}

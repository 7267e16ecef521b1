/** Nodes with exclusive storage, where each disk has physical volumes of its own (ganeti(7), exclusive storage). */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Disk,
  type DiskTemplate,
  filledNdparams,
  type Node,
  type NodeUuid,
} from "@gannet/objects";
import type { PrereqContext } from "../../executor/context.ts";

/** Whether each disk of the node has physical volumes of its own. */
export function hasExclusiveStorage(view: Pick<ConfigView, "cluster" | "nodes" | "groups">, uuid: NodeUuid): boolean {
  const node = view.nodes.get(uuid);
  const group = node === undefined ? undefined : view.groups.get(node.group);
  if (node === undefined || group === undefined) return false;
  return filledNdparams(view.cluster, group, node).exclusive_storage === true;
}

/** @throws OpPrereqError (wrong_input) when a node has exclusive storage, for which the template is not made */
export function checkTemplateFits(view: ConfigView, template: DiskTemplate, nodes: readonly Node[]): void {
  if (DISK_TEMPLATE_TRAITS[template].exclusiveStorage) return;
  const found = nodes.find(({ uuid }) => hasExclusiveStorage(view, uuid));
  if (found !== undefined)
    throw new OpPrereqError(
      `Disk template ${template} is not possible on node ${found.name}, which has exclusive storage`,
      "wrong_input",
    );
}

/**
 * Disks that there are may come to the nodes.
 * @throws OpPrereqError: wrong_input for their template, wrong_state when it is not known how many spindles they need
 */
export function checkDisksFit(
  view: ConfigView,
  { template, disks }: { readonly template: DiskTemplate; readonly disks: readonly Pick<Disk, "spindles">[] },
  nodes: readonly Node[],
): void {
  checkTemplateFits(view, template, nodes);
  const exclusive = nodes.find(({ uuid }) => hasExclusiveStorage(view, uuid));
  const without = disks.findIndex(({ spindles }) => spindles === null);
  if (exclusive === undefined || without < 0) return;
  throw new OpPrereqError(
    `Disk ${without}: its spindles are not known, and node ${exclusive.name} has exclusive storage; give them, or make ` +
      "the disk again with them",
    "wrong_state",
  );
}

/**
 * A disk of a node with exclusive storage grows on the physical volumes that it has, whatever is free beside them.
 * @throws OpPrereqError (insufficient_resources)
 */
export async function checkOwnSpace(ctx: PrereqContext, node: Node, disk: Disk, growthMib: number): Promise<void> {
  const { storage } = ctx.node(node.uuid);
  const [{ volumes }, { units }] = await Promise.all([
    storage.listVolumes({}, { signal: ctx.signal }),
    storage.listUnits({ type: "lvm-pv" }, { signal: ctx.signal }),
  ]);
  const [group, name] = disk.logicalId;
  const own = volumes.find((volume) => volume.volumeGroup === group && volume.name === name)?.devices ?? [];
  const freeMib = units.filter((unit) => own.includes(unit.name)).reduce((sum, unit) => sum + unit.freeMib, 0);
  if (freeMib < growthMib)
    throw new OpPrereqError(
      `Not enough disk space on node ${node.name}: the disk grows on its own physical volumes (${own.join(", ")}), ` +
        `which have ${freeMib} MiB free, and needs ${growthMib} MiB`,
      "insufficient_resources",
    );
}

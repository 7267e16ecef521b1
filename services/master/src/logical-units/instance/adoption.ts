/** Existing devices that become disks of a new instance (`adopt`). */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, LogicalId, Node } from "@gannet/objects";
import type { PrereqContext } from "../../executor/context.ts";
import type { PlannedDisk } from "./planned-disks.ts";

/** What the device is named that becomes this disk; undefined when a new one is made. */
export function adoptedId({ site, adopt }: PlannedDisk): LogicalId | undefined {
  if (adopt === null) return undefined;
  if (site.template === "plain") return [site.volumeGroup, adopt];
  return site.template === "blockdev" ? ["manual", site.path] : undefined;
}

/**
 * Ask the node what it knows of the devices to be adopted.
 * @returns the disks with their true sizes
 * @throws OpPrereqError: unknown_entity for a missing device, wrong_state for one that is in use,
 *   resource_not_unique for one that is a disk already
 */
export async function withAdoptedSizes(
  ctx: PrereqContext,
  node: Node,
  disks: readonly PlannedDisk[],
): Promise<readonly PlannedDisk[]> {
  const ids = disks.flatMap((disk) => adoptedId(disk) ?? []).length === 0 ? [] : disks.map(adoptedId);
  if (ids.length === 0) return disks;
  const candidates = disks.map((disk, position) => ({
    template: disk.site.template,
    logicalId: (ids[position] ?? []).map(String),
  }));
  for (const { logicalId } of candidates) refuseTaken(ctx.config, node, logicalId);
  const reply = await ctx.node(node.uuid).blockDevices.adoptable({ candidates }, { signal: ctx.signal });
  return disks.map((disk, position) => {
    const found = reply.candidates[position];
    const title = candidates[position]?.logicalId.join("/") ?? "";
    if (found === undefined || !found.exists)
      throw new OpPrereqError(`Device ${title} does not exist on node ${node.name}`, "unknown_entity");
    if (found.inUse)
      throw new OpPrereqError(`Device ${title} on node ${node.name} is in use and cannot be adopted`, "wrong_state");
    return { ...disk, sizeMib: found.sizeMib };
  });
}

/** A block device is the same for all nodes; a volume is one node's. */
function refuseTaken(view: ConfigView, node: Node, logicalId: readonly string[]): void {
  const key = logicalId.join("\n");
  for (const disk of view.disks.values())
    for (const each of [disk, ...disk.children]) {
      if (each.logicalId.join("\n") !== key) continue;
      if (each.template === "plain" && !each.nodes.includes(node.uuid)) continue;
      throw new OpPrereqError(`Device ${logicalId.join("/")} is a disk of the cluster already`, "resource_not_unique");
    }
}

/**
 * Tags of logical volumes: to which disk one belongs, and to which instance.
 *
 * The first is Gannet's own: by it a repeated create is told from a volume that was there before. The second is
 * Ganeti's (spec/node-ops.json, `add tag`), and all there is on a volume that Ganeti made.
 */
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { INSTANCE_TAG, instanceTag } from "../instance-tag.ts";

const OWNER = "gannetdisk+";

export function tagsOf(
  device: Pick<BlockDeviceSpec, "uuid" | "instanceName">,
): readonly [owner: string, instance: string] {
  return [`${OWNER}${device.uuid}`, instanceTag(device)];
}

/** The UUID of the disk that a volume with these tags belongs to; undefined when none is noted. */
export function ownerOf(tags: readonly string[]): string | undefined {
  return tags.find((tag) => tag.startsWith(OWNER))?.slice(OWNER.length);
}

/** What to add and what to take away, so that a volume with these tags is the disk's, and no other's. */
export function changesOf(
  tags: readonly string[],
  device: Pick<BlockDeviceSpec, "uuid" | "instanceName">,
): { readonly add: readonly string[]; readonly remove: readonly string[] } {
  const wanted = tagsOf(device);
  return {
    add: wanted.filter((tag) => !tags.includes(tag)),
    remove: tags.filter(
      (tag) => (tag.startsWith(OWNER) || tag.startsWith(INSTANCE_TAG)) && !(wanted as readonly string[]).includes(tag),
    ),
  };
}

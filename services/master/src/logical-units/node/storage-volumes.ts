import type { ConfigView, Node } from "@gannet/objects";
import { NodeQueryvols } from "@gannet/opcodes";
import type { StorageVolume } from "@gannet/rpc";
import { implement } from "../../executor/logical-unit.ts";
import { fieldReaders, listedNodeLocks, listedNodes, rowsOfNodes } from "./storage-rows.ts";

/** A volume's part on one physical volume. */
interface VolumePart {
  readonly node: Node;
  readonly volume: StorageVolume;
  readonly device: string;
  /** Name of the instance whose disk it is. */
  readonly instance: string | undefined;
}

const FIELDS: Readonly<Record<string, (part: VolumePart) => unknown>> = {
  phys: ({ device }) => device,
  vg: ({ volume }) => volume.volumeGroup,
  name: ({ volume }) => volume.name,
  size: ({ volume }) => volume.sizeMib,
  instance: ({ instance }) => instance ?? "-",
  node: ({ node }) => node.name,
};

/** Rows of values in the order of the fields asked for, by node and then by physical volume. */
export const nodeQueryvols = implement(NodeQueryvols, {
  locks: (op, view) => listedNodeLocks(view, op.nodes),

  checkPrereq: (ctx, op) => ({
    readers: fieldReaders(FIELDS, op.output_fields),
    nodes: listedNodes(ctx.config, op.nodes),
  }),

  async exec(ctx, _op, { readers, nodes }) {
    return await rowsOfNodes(ctx, nodes, async (node) => {
      const { volumes } = await ctx.node(node.uuid).storage.listVolumes({}, { signal: ctx.signal });
      const owners = ownersOn(ctx.config, node);
      return volumes
        .flatMap((volume) => {
          const instance = owners.get(`${volume.volumeGroup}/${volume.name}`);
          return volume.devices.map((device): VolumePart => ({ node, volume, device, instance }));
        })
        .toSorted((a, b) => a.device.localeCompare(b.device) || a.volume.name.localeCompare(b.volume.name))
        .map((part) => readers.map((read) => read(part)));
    });
  },
});

/** Names of the instances whose volumes are on the node, by `group/volume`. */
function ownersOn(view: ConfigView, { uuid }: Node): ReadonlyMap<string, string> {
  const owners = new Map<string, string>();
  for (const instance of [...view.primaryInstances(uuid), ...view.secondaryInstances(uuid)])
    for (const disk of view.disksOf(instance))
      for (const { template, logicalId } of [disk, ...disk.children])
        if (template === "plain") owners.set(logicalId.join("/"), instance.name);
  return owners;
}

/** The numbers and names that a DRBD disk has on its nodes (spec/config.json, `logical_id`; spec/node-ops.json). */
import { ConfigurationError, OpPrereqError } from "@gannet/errors";
import type { ChildDisk, Disk } from "./model.ts";
import type { NodeUuid } from "./names.ts";

/** The kernel module has at most 255 devices, from 0. */
export const MAX_DRBD_MINOR = 254;
/** Bytes of a disk's secret; as hexadecimal digits they are within the 63 characters that drbdsetup takes. */
export const DRBD_SECRET_BYTES = 20;

/** A DRBD disk's logical id, read. */
export interface DrbdId {
  readonly nodes: readonly [NodeUuid, NodeUuid];
  readonly port: number;
  /** On each node, in the order of `nodes`. */
  readonly minors: readonly [number, number];
  /** By which the ends know each other: in no log, undo list, job result or answer. */
  readonly secret: string;
}

/** @throws ConfigurationError when the disk is no DRBD disk, or its logical id has another shape */
export function drbdIdOf({ uuid, template, logicalId }: Pick<ChildDisk, "uuid" | "template" | "logicalId">): DrbdId {
  const [nodeA, nodeB, port, minorA, minorB, secret] = logicalId;
  if (
    template !== "drbd" ||
    typeof nodeA !== "string" ||
    typeof nodeB !== "string" ||
    typeof port !== "number" ||
    typeof minorA !== "number" ||
    typeof minorB !== "number" ||
    typeof secret !== "string"
  )
    throw new ConfigurationError(`Disk ${uuid} of template ${template} has no DRBD disk's logical id`);
  return { nodes: [nodeA as NodeUuid, nodeB as NodeUuid], port, minors: [minorA, minorB], secret };
}

/** The DRBD minors that are taken, by node. */
export type MinorsInUse = ReadonlyMap<NodeUuid, ReadonlySet<number>>;

/** What the disks of a configuration take. */
export function drbdMinorsInUse(disks: Iterable<Pick<Disk, "uuid" | "template" | "logicalId">>): MinorsInUse {
  const taken = new Map<NodeUuid, Set<number>>();
  for (const disk of disks) {
    if (disk.template !== "drbd") continue;
    const { nodes, minors } = drbdIdOf(disk);
    for (const [position, node] of nodes.entries()) {
      const ofNode = taken.get(node) ?? new Set();
      taken.set(node, ofNode.add(minors[position] as number));
    }
  }
  return taken;
}

/**
 * The lowest free minor of a node, and what is taken then.
 * @param nodeName - for the message
 * @throws OpPrereqError `insufficient_resources` when the node has none left
 */
export function allocateMinor(
  inUse: MinorsInUse,
  node: NodeUuid,
  nodeName: string,
): { readonly minor: number; readonly inUse: MinorsInUse } {
  const taken = inUse.get(node) ?? new Set();
  let minor = 0;
  while (taken.has(minor)) minor += 1;
  if (minor > MAX_DRBD_MINOR)
    throw new OpPrereqError(`All DRBD minors of node ${nodeName} are in use`, "insufficient_resources");
  return { minor, inUse: new Map(inUse).set(node, new Set(taken).add(minor)) };
}

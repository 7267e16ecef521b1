import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Node, type StorageType } from "@gannet/objects";
import { NodeQueryStorage } from "@gannet/opcodes";
import type { StorageUnit } from "@gannet/rpc";
import { implement } from "../../executor/logical-unit.ts";
import { fieldReaders, listedNodeLocks, listedNodes, rowsOfNodes } from "./storage-rows.ts";

/** spec/config.json, `storage_fields`. */
const FIELDS: Readonly<Record<string, (unit: StorageUnit, node: Node) => unknown>> = {
  allocatable: (unit) => unit.allocatable,
  free: (unit) => unit.freeMib,
  name: (unit) => unit.name,
  node: (_unit, node) => node.name,
  size: (unit) => unit.sizeMib,
  type: (unit) => unit.type,
  used: (unit) => unit.usedMib,
};

/** Those of which nodes know the units (spec/config.json, `storage_report_types`). */
const LISTED_TYPES: readonly StorageType[] = ["file", "lvm-pv", "lvm-vg"];

/** Rows of values in the order of the fields asked for, by node and then by unit. */
export const nodeQueryStorage = implement(NodeQueryStorage, {
  locks: (op, view) => listedNodeLocks(view, op.nodes),

  checkPrereq: (ctx, op) => ({
    readers: fieldReaders(FIELDS, op.output_fields),
    nodes: listedNodes(ctx.config, op.nodes),
    type: listedType(ctx.config, op.storage_type ?? null),
  }),

  async exec(ctx, op, { readers, nodes, type }) {
    return await rowsOfNodes(ctx, nodes, async (node) => {
      const request = { type, name: op.name ?? undefined };
      const { units } = await ctx.node(node.uuid).storage.listUnits(request, { signal: ctx.signal });
      return units
        .toSorted((a, b) => a.name.localeCompare(b.name))
        .map((unit) => readers.map((read) => read(unit, node)));
    });
  },
});

/** The type asked for; else that of the first enabled disk template which has units. @throws OpPrereqError */
function listedType({ cluster }: ConfigView, asked: StorageType | null): StorageType {
  const types = cluster.enabledDiskTemplates.map((template) => DISK_TEMPLATE_TRAITS[template].storageType);
  const type = asked ?? types.find((each) => LISTED_TYPES.includes(each));
  if (type !== undefined && LISTED_TYPES.includes(type)) return type;
  throw new OpPrereqError(
    `Storage of type ${type ?? "any enabled disk template"} has no units; choose of ${LISTED_TYPES.join(", ")}`,
    "wrong_input",
  );
}

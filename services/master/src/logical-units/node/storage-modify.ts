import { OpPrereqError } from "@gannet/errors";
import type { StorageType } from "@gannet/objects";
import { NodeModifyStorage, type Op } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";

/** What can be changed of units (spec/config.json, `storage_modifiable`). */
const MODIFIABLE: Readonly<Partial<Record<StorageType, readonly string[]>>> = { "lvm-pv": ["allocatable"] };

export const nodeModifyStorage = implement(NodeModifyStorage, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    return node === undefined ? [] : [exclusive.node(node.uuid)];
  },

  checkPrereq(ctx, op) {
    return { node: knownNode(ctx.config, op.node_uuid ?? op.node_name), change: askedChange(op) };
  },

  async exec(ctx, op, { node, change: { name, allocatable } }) {
    const request = { step: ctx.step("set-allocatable"), type: op.storage_type, name, allocatable };
    await ctx.node(node.uuid).storage.setAllocatable(request, { signal: ctx.signal });
    return null;
  },
});

/** @throws OpPrereqError (wrong_input) */
function askedChange(op: Op<typeof NodeModifyStorage>): { readonly name: string; readonly allocatable: boolean } {
  const { storage_type: type, name, changes } = op;
  const modifiable = MODIFIABLE[type];
  if (modifiable === undefined)
    throw new OpPrereqError(`Storage units of type ${type} cannot be modified`, "wrong_input");
  const unknown = Object.keys(changes).filter((key) => !modifiable.includes(key));
  if (unknown.length > 0)
    throw new OpPrereqError(
      `Of storage units of type ${type} these cannot be modified: ${unknown.join(", ")}`,
      "wrong_input",
    );
  if (!name) throw new OpPrereqError("The storage unit's name is missing", "wrong_input");
  if (typeof changes.allocatable !== "boolean")
    throw new OpPrereqError("Nothing to modify: say whether the unit is allocatable", "wrong_input");
  return { name, allocatable: changes.allocatable };
}

import { OpPrereqError } from "@gannet/errors";
import type { Node } from "@gannet/objects";
import { BackupRemove } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";

/** Removes an instance's exports from all nodes; the instance itself may be gone long since. */
export const backupRemove = implement(BackupRemove, {
  locks: () => [exclusive.all("node")],

  checkPrereq: (ctx, op) => ctx.config.findInstance(op.instance_name)?.name ?? op.instance_name,

  async exec(ctx, _op, name) {
    const found = await removeOtherExports(ctx, name, undefined);
    if (found === 0) throw new OpPrereqError(`No node has an export of instance ${name}`, "unknown_entity");
    return null;
  },
});

/**
 * Remove an instance's exports from all nodes but one. A node that cannot be asked is told of and left alone.
 * @returns how many there were
 */
export async function removeOtherExports(ctx: ExecContext, name: string, kept: Node | undefined): Promise<number> {
  let found = 0;
  for (const node of ctx.config.nodes.values()) {
    if (node.uuid === kept?.uuid || node.offline) continue;
    const { transfers } = ctx.node(node.uuid);
    const failure = await failureOf(ctx, async () => {
      const { instanceNames } = await transfers.listExports({}, { signal: ctx.signal });
      if (!instanceNames.includes(name)) return;
      found += 1;
      const request = { step: ctx.step(`remove-export/${node.uuid}`), export: name, unfinishedOnly: false };
      await transfers.removeExport(request, { signal: ctx.signal });
    });
    if (failure !== undefined)
      ctx.feedback.warning(`Could not remove the export of ${name} on ${node.name}: ${failure.message}`);
  }
  return found;
}

import { RestrictedCommand } from "@gannet/opcodes";
import { failureOf } from "../../executor/attempt.ts";
import { exclusive, shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";

/** Whether and how each node ran the command, in the order asked. The nodes' administrators say which there are. */
export const restrictedCommand = implement(RestrictedCommand, {
  locks(op, view) {
    const nodes = (op.node_uuids ?? op.nodes).flatMap((name) => view.findNode(name)?.uuid ?? []);
    return [...new Set(nodes)].map(op.use_locking ? exclusive.node : shared.node);
  },

  checkPrereq: (ctx, op) => (op.node_uuids ?? op.nodes).map((name) => knownNode(ctx.config, name)),

  async exec(ctx, op, nodes) {
    return await Promise.all(
      nodes.map(async ({ uuid, name }): Promise<[boolean, string]> => {
        let output = "";
        const failure = await failureOf(ctx, async () => {
          const request = { step: ctx.step(`run/${uuid}`), command: op.command };
          ({ output } = await ctx.node(uuid).node.runRestrictedCommand(request, { signal: ctx.signal }));
        });
        if (failure === undefined) return [true, output];
        return [false, `Command '${op.command}' on node '${name}' failed: ${failure.message}`];
      }),
    );
  },
});

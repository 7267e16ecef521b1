import { setTimeout as sleep } from "node:timers/promises";
import { OpPrereqError } from "@gannet/errors";
import { type Op, TestDelay } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";

/** Longest wait, in seconds: a day. */
const MAX_DURATION = 86_400;

/** Waits on the master, on nodes, or both. Without `no_locks` it holds the nodes' locks meanwhile. */
export const testDelay = implement(TestDelay, {
  locks(op, view) {
    if (op.no_locks) return [];
    const named = namesOf(op).flatMap((name) => view.findNode(name)?.uuid ?? []);
    const master = op.on_master ? [view.cluster.masterNode] : [];
    return [...new Set([...named, ...master])].map((uuid) => exclusive.node(uuid));
  },

  checkPrereq(ctx, op) {
    if (op.duration < 0 || op.duration > MAX_DURATION)
      throw new OpPrereqError(
        `duration is ${op.duration}; it must be from 0 to ${MAX_DURATION} seconds`,
        "wrong_input",
      );
    return { nodes: namesOf(op).map((name) => knownNode(ctx.config, name)) };
  },

  async exec(ctx, op, { nodes }) {
    const durationMs = Math.round(op.duration * 1000);
    for (let round = 0; round < Math.max(op.repeat, 1); round += 1) {
      if (op.repeat > 0) ctx.feedback.info(`Test delay iteration ${round}/${op.repeat - 1}`);
      if (op.on_master && durationMs > 0) await sleep(durationMs, undefined, { signal: ctx.signal });
      await Promise.all(
        nodes.map((node) =>
          ctx
            .node(node.uuid)
            .node.delay({ step: ctx.step(`delay/${round}/${node.uuid}`), durationMs }, { signal: ctx.signal }),
        ),
      );
    }
    return null;
  },
});

const namesOf = ({ on_nodes, on_node_uuids }: Op<typeof TestDelay>): readonly string[] => on_node_uuids ?? on_nodes;

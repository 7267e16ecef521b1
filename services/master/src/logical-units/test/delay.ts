import { setTimeout as sleep } from "node:timers/promises";
import { OpPrereqError } from "@gannet/errors";
import { type Op, TestDelay } from "@gannet/opcodes";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { knownNode } from "../instance/lookups.ts";
import { DelaySocket } from "./delay-socket.ts";

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
    if (op.interruptible && (!op.on_master || namesOf(op).length > 0 || op.repeat > 0))
      throw new OpPrereqError("A delay that is interruptible waits once, on the master only", "wrong_input");
    return { nodes: namesOf(op).map((name) => knownNode(ctx.config, name)) };
  },

  async exec(ctx, op, { nodes }) {
    const durationMs = Math.round(op.duration * 1000);
    if (op.interruptible) {
      await interruptibleDelay(ctx, durationMs);
      return null;
    }
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

async function interruptibleDelay({ feedback, signal }: ExecContext, durationMs: number): Promise<void> {
  await using socket = await DelaySocket.open();
  const over = new AbortController();
  feedback.entry("delay-test", [socket.path]);
  const delay = sleep(durationMs, undefined, { signal: AbortSignal.any([signal, over.signal]) });
  await Promise.race([delay, socket.touched]).finally(() => over.abort());
}

const namesOf = ({ on_nodes, on_node_uuids }: Op<typeof TestDelay>): readonly string[] => on_node_uuids ?? on_nodes;

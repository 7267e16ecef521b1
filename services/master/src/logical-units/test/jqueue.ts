import { OpExecError } from "@gannet/errors";
import { TestJqueue } from "@gannet/opcodes";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";

/** By which Ganeti's test of its queue finds its messages among others. */
const MESSAGE_PREFIX = "TESTMSG=";

/**
 * What happens is told in the job's log. Ganeti waits at each such point for somebody to connect to a socket on the
 * master's machine; here there is none (its name is empty), and nobody is waited for.
 */
export const testJqueue = implement(TestJqueue, {
  locks: (_op, { cluster }) => [exclusive.node(cluster.masterNode)],
  checkPrereq: () => undefined,

  async exec(ctx, op) {
    const tell = (what: string, argument: number | null) => ctx.feedback.entry("jqueue-test", ["", what, argument]);
    if (op.notify_waitlock) tell("expandnames", null);
    if (op.notify_exec) tell("exec", null);
    ctx.feedback.info("Executing");
    if (op.log_messages.length > 0) tell("startmsg", op.log_messages.length);
    for (const [index, text] of op.log_messages.entries()) {
      ctx.feedback.info(`Sending log message ${index + 1}`);
      ctx.feedback.entry("message", `${MESSAGE_PREFIX}${text}`);
      tell("logmsg", index + 1);
    }
    if (op.fail) throw new OpExecError("Opcode failure was requested");
    return true;
  },
});

import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const TestDelay = defineOpcode({
  id: "OP_TEST_DELAY",
  doc: "Do nothing for a while, on the master and on nodes.",
  params: {
    duration: p.required(p.duration, "Seconds."),
    on_master: p.flag("Wait on the master.", { default: true }),
    on_nodes: p.list(p.hostName, "Nodes to wait on."),
    on_node_uuids: p.uuids,
    repeat: p.withDefault(p.nonNegative, 0, "How many times; 0: once."),
    interruptible: p.flag(
      "Wait on the master only, and end early when somebody connects to the socket that the job's log names.",
    ),
    no_locks: p.flag("Take no locks.", { default: true }),
  },
  result: r.nothing,
  summary: "duration",
  rapi: [],
  cli: command("debug delay", { args: ["duration"] }),
});

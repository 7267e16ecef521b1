import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const RestrictedCommand = defineOpcode({
  id: "OP_RESTRICTED_COMMAND",
  doc: "Run one of the commands that the nodes' administrators allow.",
  params: {
    use_locking: p.useLocking,
    nodes: p.requiredNodeNames,
    node_uuids: p.uuids,
    command: p.required(p.fileName, "Name of the command, a file in the nodes' folder of allowed ones."),
  },
  /** Whether it ran, and what it printed or why not, by node. */
  result: z.array(z.tuple([z.boolean(), z.string()])),
  summary: null,
  rapi: [],
  cli: command("node restricted-command", { args: ["command", "nodes"] }),
});

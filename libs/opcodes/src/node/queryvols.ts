import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";

export const NodeQueryvols = defineOpcode({
  id: "OP_NODE_QUERYVOLS",
  doc: "List the logical volumes of nodes.",
  params: { output_fields: p.outputFields, nodes: p.nodeNames },
  result: z.array(z.unknown()),
  summary: null,
  rapi: [],
  cli: command("node volumes", { args: ["nodes"] }),
});

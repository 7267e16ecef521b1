import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { OOB_COMMANDS } from "../enums.ts";
import * as p from "../params.ts";
import { RESULT_STATUS } from "../results.ts";

export const OobCommand = defineOpcode({
  id: "OP_OOB_COMMAND",
  doc: "Run a command of the nodes' out-of-band helper: power and health.",
  params: {
    node_names: p.nodeNames,
    node_uuids: p.uuids,
    command: p.required(z.enum(OOB_COMMANDS), "The command."),
    timeout: p.withDefault(z.int(), 60, "Seconds the helper may take."),
    ignore_status: p.flag("Power off nodes that are not marked offline."),
    power_delay: p.withDefault(p.duration, 2, "Seconds between one node and the next at power on."),
  },
  /** A row for each node: its name, then what the helper said. */
  result: z.array(z.array(z.tuple([RESULT_STATUS, z.unknown()]))),
  summary: null,
  rapi: [],
  cli: command("node power", { args: ["command", "node_names"] }),
});

import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

/**
 * Gannet's own: Ganeti's watcher does this on the node itself, where `maintain_node_health` is on
 * (spec/os-iallocator-hooks.json, `watcher`), beside all locks.
 */
export const NodeQuiesce = defineOpcode({
  id: "OP_NODE_QUIESCE",
  doc: "Stop the guests of a node that is marked offline and still answers, and take down its ends of DRBD disks.",
  params: { node_name: p.nodeName, node_uuid: p.uuid },
  /** Names of the guests that were stopped, and `disk/0 of web1` for each end that was taken down. */
  result: z.strictObject({ guests: r.names, disks: r.names }),
  summary: "node_name",
  rapi: [],
  cli: command("node quiesce", { args: ["node_name"] }),
});

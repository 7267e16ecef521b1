import { HttpError } from "@gannet/errors";
import { z } from "zod";
import { command, defineOpcode, type RawParams, type RouteInput } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { flag, post, put } from "../route.ts";

export const NodeSetParams = defineOpcode({
  id: "OP_NODE_SET_PARAMS",
  doc: "Change the role and the parameters of a node.",
  params: {
    node_name: p.nodeName,
    node_uuid: p.uuid,
    force: p.force,
    hv_state: p.hvState,
    disk_state: p.diskState,
    master_candidate: p.optionalFlag("Make the node a master candidate, or no longer one."),
    offline: p.optionalFlag("Mark the node offline, or online again."),
    drained: p.optionalFlag("Let the node take no new instances, or again."),
    auto_promote: p.flag("Promote other nodes where too few master candidates would be left."),
    master_capable: p.optionalFlag("Whether it may become a master candidate."),
    vm_capable: p.optionalFlag("Whether it may run instances."),
    secondary_ip: p.optional(p.ip, "Its address for replication."),
    ndparams: p.ndparams,
    powered: p.optionalFlag("Note whether the node has power."),
  },
  result: r.changes,
  summary: "node_name",
  rapi: [
    put("/2/nodes/:node_name/role", {
      query: { force: flag, "auto-promote": { type: "flag", param: "auto_promote" } },
      body: "other",
      convert: roleToFlags,
      bodySchema: z.enum(["regular", "master-candidate", "drained", "offline"]),
    }),
    post("/2/nodes/:node_name/modify"),
  ],
  cli: command("node modify", { args: ["node_name"] }),
});

/** What each role sets (spec/rapi.json, `special.role`). Nobody becomes master this way. */
const FLAGS_OF_ROLE: ReadonlyMap<unknown, RawParams> = new Map([
  ["regular", { master_candidate: false, offline: false, drained: false }],
  ["master-candidate", { master_candidate: true }],
  ["drained", { drained: true }],
  ["offline", { offline: true }],
]);

function roleToFlags({ params, body }: RouteInput): RawParams {
  const flags = FLAGS_OF_ROLE.get(body);
  if (flags !== undefined) return { ...params, ...flags };
  const known = [...FLAGS_OF_ROLE.keys()].join(", ");
  throw new HttpError(400, `The body must be the role to set, as JSON text: one of ${known}`);
}

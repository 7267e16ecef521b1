import { TagsGet } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { tagLocks, tagsOf } from "./tag-target.ts";

export const tagsGet = implement(TagsGet, {
  locks: (op, view) => (op.use_locking ? tagLocks(view, op, "shared") : []),
  checkPrereq: (ctx, op) => tagsOf(ctx.config, op),
  exec: async (_ctx, _op, tags) => [...tags],
});

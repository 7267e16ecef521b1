import { removeTags } from "@gannet/objects";
import { TagsDel } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { tagLocks, tagsOf, withTags } from "./tag-target.ts";

export const tagsDel = implement(TagsDel, {
  locks: (op, view) => tagLocks(view, op, "exclusive"),

  checkPrereq(ctx, op) {
    removeTags(tagsOf(ctx.config, op), op.tags);
  },

  async exec(ctx, op) {
    await ctx.commit((view) => [withTags(view, op, removeTags(tagsOf(view, op), op.tags))]);
    return null;
  },
});

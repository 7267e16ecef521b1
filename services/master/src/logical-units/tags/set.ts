import { addTags } from "@gannet/objects";
import { TagsSet } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { tagLocks, tagsOf, withTags } from "./tag-target.ts";

export const tagsSet = implement(TagsSet, {
  locks: (op, view) => tagLocks(view, op, "exclusive"),

  checkPrereq(ctx, op) {
    addTags(tagsOf(ctx.config, op), op.tags);
  },

  async exec(ctx, op) {
    await ctx.commit((view) => [withTags(view, op, addTags(tagsOf(view, op), op.tags))]);
    return null;
  },
});

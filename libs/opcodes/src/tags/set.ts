import { TAG_KINDS } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";
import { asQueryTags, TAG_ARGUMENT, tagRoutes, tagsBody, withBodyTags } from "./routes.ts";

export const TagsSet = defineOpcode({
  id: "OP_TAGS_SET",
  doc: "Give tags to an object.",
  params: {
    kind: p.required(z.enum(TAG_KINDS), "The kind of object."),
    tags: p.requiredList(p.tag, "The tags."),
    name: p.taggedName,
  },
  result: r.nothing,
  summary: null,
  rapi: tagRoutes(put, {
    query: TAG_ARGUMENT,
    body: "other",
    dryRun: "query",
    convert: withBodyTags,
    bodySchema: tagsBody,
    invert: asQueryTags,
  }),
  cli: command("tags add", { args: ["kind", "name", "tags"] }),
});

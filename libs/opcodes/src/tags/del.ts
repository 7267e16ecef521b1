import { TAG_KINDS } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { del } from "../route.ts";
import { TAG_ARGUMENT, tagRoutes } from "./routes.ts";

export const TagsDel = defineOpcode({
  id: "OP_TAGS_DEL",
  doc: "Take tags from an object.",
  params: {
    kind: p.required(z.enum(TAG_KINDS), "The kind of object."),
    tags: p.requiredList(p.tag, "The tags."),
    name: p.taggedName,
  },
  result: r.nothing,
  summary: null,
  rapi: tagRoutes(del, { query: TAG_ARGUMENT, body: "ignored", dryRun: "query" }),
  cli: command("tags remove", { args: ["kind", "name", "tags"] }),
});

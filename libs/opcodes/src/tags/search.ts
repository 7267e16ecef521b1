import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const TagsSearch = defineOpcode({
  id: "OP_TAGS_SEARCH",
  doc: "Find the objects whose tags match a pattern.",
  params: { pattern: p.required(p.nonEmptyLine, "A regular expression.") },
  /** `[path, tag]` of each, such as `/instances/web1.example.com`. */
  result: z.array(z.tuple([r.name, r.name])),
  summary: "pattern",
  rapi: [],
  cli: command("tags search", { args: ["pattern"] }),
});

import { TAG_KINDS } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";

export const TagsGet = defineOpcode({
  id: "OP_TAGS_GET",
  doc: "List the tags of an object.",
  params: {
    kind: p.required(z.enum(TAG_KINDS), "The kind of object."),
    use_locking: p.useLocking,
    name: p.taggedName,
  },
  result: r.names,
  summary: "name",
  rapi: [],
  cli: command("tags list", { args: ["kind", "name"] }),
});

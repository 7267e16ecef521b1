/** JSON Schemas of a document: those with an id stand among its components, once. */
import { z } from "zod";
import type { JsonSchema } from "./types.ts";

export class SchemaCollection {
  readonly #named = new Map<string, JsonSchema>();

  /** The schemas that others refer to, by name. */
  get components(): Readonly<Record<string, JsonSchema>> {
    return Object.fromEntries([...this.#named].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  /** The schema of what clients send (`input`) or are sent. */
  of(schema: z.ZodType, io: "input" | "output"): JsonSchema {
    const { $schema, $defs = {}, ...rest } = z.toJSONSchema(schema, { io });
    for (const [name, definition] of Object.entries($defs)) this.#named.set(name, withoutId(definition));
    const { id } = rest;
    if (typeof id !== "string") return refersToComponents(rest);
    this.#named.set(id, withoutId(rest));
    return { $ref: `#/components/schemas/${id}` };
  }
}

function withoutId({ id: _id, ...schema }: JsonSchema): JsonSchema {
  return refersToComponents(schema);
}

/** `#/$defs/X` is `#/components/schemas/X`. */
function refersToComponents(schema: JsonSchema): JsonSchema {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/$defs/', '"$ref":"#/components/schemas/');
  return JSON.parse(text) as JsonSchema;
}

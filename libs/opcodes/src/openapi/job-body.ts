/** The body of a request that submits a job, as `readBody` takes it. */
import type { commonParams, JobRoute } from "../define.ts";
import { staticKeys } from "../rapi/read-body.ts";
import type { SchemaCollection } from "./schemas.ts";
import type { JsonSchema, RequestBody } from "./types.ts";

/** The opcode's parameters as a schema has them. */
export interface ParameterSchemas {
  readonly properties: Readonly<Record<string, JsonSchema>>;
  readonly required: readonly string[];
}

export function jobBody(route: JobRoute, schemas: SchemaCollection, opcode: ParameterSchemas): RequestBody {
  switch (route.body) {
    case "params":
      return paramsBody(route, opcode);
    case "ignored":
      return {
        description: "Only `depends` is read.",
        required: false,
        content: json({ type: "object", properties: only(["depends"], opcode.properties) }),
      };
    case "other":
      return {
        required: route.bodySchema?.safeParse(undefined).success === false,
        content: json(otherBody(route, schemas, opcode)),
      };
  }
}

function otherBody(route: JobRoute, schemas: SchemaCollection, { properties }: ParameterSchemas): JsonSchema {
  const schema = route.bodySchema === undefined ? {} : schemas.of(route.bodySchema, "input");
  if (schema.type !== "object") return schema;
  return { ...schema, properties: { ...(schema.properties as object), ...only(["depends"], properties) } };
}

function paramsBody(route: JobRoute, opcode: ParameterSchemas): RequestBody {
  const elsewhere = new Set([...staticKeys(route), ...(route.forbidden ?? [])]);
  for (const name of route.alsoInBody ?? []) elsewhere.delete(name);
  if (route.dryRun === "no") elsewhere.add("dry_run");
  const properties = Object.fromEntries(Object.entries(opcode.properties).filter(([name]) => !elsewhere.has(name)));
  const inPath = new Set(staticKeys(route));
  const needed = opcode.required.filter((name) => name in properties && !inPath.has(name));
  const aliases = Object.entries(route.aliases ?? {});
  const hasAlias = (name: string) => aliases.some(([, param]) => param === name);
  const constants = Object.entries(route.bodyConstants ?? {});
  const required = [...constants.map(([name]) => name), ...needed.filter((name) => !hasAlias(name))];
  const eitherName = needed.filter(hasAlias).map((param) => ({
    anyOf: [param, ...aliases.flatMap(([alias, of]) => (of === param ? [alias] : []))].map((name) => ({
      required: [name],
    })),
  }));
  return {
    required: required.length > 0 || eitherName.length > 0,
    content: json({
      type: "object",
      properties: {
        ...Object.fromEntries(constants.map(([name, value]) => [name, { const: value }])),
        ...properties,
        ...Object.fromEntries(aliases.map(([alias, param]) => [alias, aliasSchema(param, properties[param])])),
      },
      ...(required.length === 0 ? {} : { required }),
      ...(eitherName.length === 0 ? {} : { allOf: eitherName }),
      additionalProperties: false,
    }),
  };
}

function aliasSchema(param: string, schema: JsonSchema = {}): JsonSchema {
  return { ...schema, description: `Older name of \`${param}\`.`, deprecated: true };
}

function only(
  names: readonly (keyof typeof commonParams)[],
  properties: ParameterSchemas["properties"],
): Readonly<Record<string, JsonSchema>> {
  return Object.fromEntries(names.map((name) => [name, properties[name] ?? {}]));
}

function json(schema: JsonSchema): RequestBody["content"] {
  return { "application/json": { schema } };
}

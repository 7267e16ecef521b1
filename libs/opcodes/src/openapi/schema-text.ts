/** Schemas in words and by example, for people. */
import type { JsonSchema, OpenApiDocument } from "./types.ts";

type Schemas = OpenApiDocument["components"]["schemas"];

/** A type in short: `integer`, `list of Instance`, `"a" | "b"`. */
export function typeText(schema: JsonSchema): string {
  if (typeof schema.$ref === "string") return nameOf(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const parts = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(parts)) return [...new Set((parts as readonly JsonSchema[]).map(typeText))].join(" | ");
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.type === "array") return arrayText(schema);
  if (schema.type === "object" && isSchema(schema.additionalProperties) && schema.properties === undefined)
    return `object of ${typeText(schema.additionalProperties)}`;
  return typeof schema.type === "string" ? schema.type : "anything";
}

function arrayText({ prefixItems, items }: JsonSchema): string {
  if (Array.isArray(prefixItems)) return `[${(prefixItems as readonly JsonSchema[]).map(typeText).join(", ")}]`;
  return isSchema(items) ? `list of ${typeText(items)}` : "list";
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

/** Names that make an example readable, by the parameter they stand for. */
const EXAMPLE_NAMES: Readonly<Record<string, unknown>> = {
  instance_name: "web1.example.com",
  node_name: "node2.example.com",
  group_name: "default",
  network_name: "lan",
  network: "192.0.2.0/24",
  new_name: "new.example.com",
  storage_type: "lvm-vg",
  name: "xenvg",
  nics: [{}],
  disks: [{ size: "10g" }],
  fields: ["name"],
  output_fields: ["name"],
};

/** A value that the schema takes, with as little in it as may be. */
export function exampleOf(schema: JsonSchema, schemas: Schemas, name = ""): unknown {
  if (typeof schema.$ref === "string") return exampleOf(schemas[nameOf(schema.$ref)] ?? {}, schemas, name);
  if ("const" in schema) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  if (Object.hasOwn(EXAMPLE_NAMES, name)) return EXAMPLE_NAMES[name];
  if ("default" in schema) return schema.default;
  const parts = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(parts) && isSchema(parts[0])) return exampleOf(parts[0], schemas, name);
  switch (Array.isArray(schema.type) ? schema.type[0] : schema.type) {
    case "object":
      return objectExample(schema, schemas);
    case "array":
      return Array.isArray(schema.prefixItems)
        ? (schema.prefixItems as readonly JsonSchema[]).map((item) => exampleOf(item, schemas))
        : [];
    case "integer":
    case "number":
      return typeof schema.minimum === "number" && schema.minimum > 0 ? schema.minimum : 0;
    case "boolean":
      return true;
    case "string":
      return name === "" ? "text" : name;
    default:
      return null;
  }
}

function objectExample(schema: JsonSchema, schemas: Schemas): object {
  const properties = (schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  const either = ((schema.allOf ?? []) as readonly JsonSchema[]).flatMap(({ anyOf }) =>
    Array.isArray(anyOf) ? ((anyOf[0] as JsonSchema).required as readonly string[]) : [],
  );
  const required = [...((schema.required ?? []) as readonly string[]), ...either];
  return Object.fromEntries(required.map((name) => [name, exampleOf(properties[name] ?? {}, schemas, name)]));
}

export function nameOf(reference: string): string {
  return reference.slice(reference.lastIndexOf("/") + 1);
}

/** How a parameter is given on a command line, read off its JSON Schema. Pure. */
import type { JsonSchema } from "@gannet/opcodes";

export type ValueKind =
  /** Given by its name alone; `unset` is what absence means. */
  | { readonly kind: "flag"; readonly unset: boolean | null }
  | { readonly kind: "number" }
  | { readonly kind: "text" }
  | { readonly kind: "word"; readonly words: readonly (string | number)[] }
  | { readonly kind: "list"; readonly item: ScalarKind }
  /** `key=value,…`, below so many names: `kvm:key=value` has one. Null: any, as it is given. */
  | { readonly kind: "settings"; readonly names: number | null; readonly value: SettingKind }
  /** Anything else; words that it knows beside JSON need no quotes. */
  | { readonly kind: "json"; readonly words?: readonly (string | number)[] };

export type ScalarKind = Extract<ValueKind, { kind: "number" | "text" | "word" }>;
/** What the values of settings are: as the schema says, or guessed from how they look. */
export type SettingKind = "text" | "number" | "boolean" | "any";

export function valueKindOf(schema: JsonSchema): ValueKind {
  const parts = alternatives(schema);
  const types = new Set(parts.map(typeOf));
  const [first = {}] = parts;
  if (types.size === 1) {
    if (types.has("boolean")) return { kind: "flag", unset: isNullable(schema) ? null : schema.default === true };
    if (types.has("array")) return listKind(first);
    if (types.has("object")) return settingsKind(first);
  }
  return scalarKind(parts, types) ?? { kind: "json", words: wordsOf(parts) };
}

function wordsOf(parts: readonly JsonSchema[]): readonly (string | number)[] {
  return parts.flatMap((part) => (part.enum ?? ("const" in part ? [part.const] : [])) as (string | number)[]);
}

/** The parts of a choice, without null, down to those that are no choice themselves. */
function alternatives(schema: JsonSchema): readonly JsonSchema[] {
  const parts = (schema.anyOf ?? schema.oneOf) as readonly JsonSchema[] | undefined;
  if (parts !== undefined) return parts.flatMap(alternatives);
  if (Array.isArray(schema.type))
    return schema.type.filter((type) => type !== "null").map((type) => ({ ...schema, type }));
  return schema.type === "null" ? [] : [schema];
}

function isNullable({ anyOf, type }: JsonSchema): boolean {
  if (Array.isArray(type)) return type.includes("null");
  return Array.isArray(anyOf) && (anyOf as readonly JsonSchema[]).some((part) => part.type === "null");
}

function typeOf(schema: JsonSchema): string {
  if (schema.type === "integer") return "number";
  if (typeof schema.type === "string") return schema.type;
  return typeof schema.const === "number" ? "number" : schema.const === undefined ? "unknown" : typeof schema.const;
}

function scalarKind(parts: readonly JsonSchema[], types: ReadonlySet<string>): ScalarKind | undefined {
  if (parts.length === 0 || [...types].some((type) => type !== "string" && type !== "number")) return undefined;
  const isClosed = parts.every((part) => "enum" in part || "const" in part);
  if (isClosed) return { kind: "word", words: wordsOf(parts) };
  // A size is a number or text with a unit: text says both.
  return types.has("string") ? { kind: "text" } : { kind: "number" };
}

function listKind({ items, prefixItems }: JsonSchema): ValueKind {
  if (prefixItems !== undefined || typeof items !== "object" || items === null) return { kind: "json" };
  const parts = alternatives(items as JsonSchema);
  const item = scalarKind(parts, new Set(parts.map(typeOf)));
  return item === undefined ? { kind: "json" } : { kind: "list", item };
}

function settingsKind({ additionalProperties, properties }: JsonSchema): ValueKind {
  if (properties !== undefined) return { kind: "settings", names: 0, value: "text" };
  const values = (additionalProperties ?? {}) as JsonSchema;
  if (Object.keys(values).length === 0) return { kind: "settings", names: null, value: "any" };
  const inner = alternatives(values);
  if (inner.length === 1 && typeOf(inner[0] ?? {}) === "object") {
    const below = settingsKind(inner[0] ?? {});
    if (below.kind !== "settings" || below.names === null) return { kind: "json" };
    return { ...below, names: below.names + 1 };
  }
  const types = new Set(inner.map(typeOf));
  const [only] = types;
  return { kind: "settings", names: 0, value: types.size === 1 && isSettingType(only) ? only : "text" };
}

function isSettingType(type: string | undefined): type is "number" | "boolean" {
  return type === "number" || type === "boolean";
}

/** A check of values against JSON Schemas, of as much of draft 2020-12 as our documents use. */

export type JsonSchema = Readonly<Record<string, unknown>>;

/** Finds the schema that a `$ref` names. @throws Error when there is none */
export type Resolve = (reference: string) => JsonSchema;

/** What tells people something and constrains nothing. */
const ANNOTATIONS: ReadonlySet<string> = new Set(["default", "deprecated", "description", "format", "title"]);

type Rule = (operand: never, value: unknown, schema: JsonSchema, at: string, resolve: Resolve) => readonly string[];

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const unless = (holds: boolean, fault: string): readonly string[] => (holds ? [] : [fault]);
const equal = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

const TYPES: Readonly<Record<string, (value: unknown) => boolean>> = {
  array: Array.isArray,
  boolean: (value) => typeof value === "boolean",
  integer: Number.isInteger,
  null: (value) => value === null,
  number: (value) => typeof value === "number",
  object: isObject,
  string: (value) => typeof value === "string",
};

const RULES: Readonly<Record<string, Rule>> = {
  $ref: (name: string, value, _schema, at, resolve) => schemaFaults(resolve(name), value, resolve, at),
  type: (types: string | readonly string[], value, _schema, at) =>
    unless(
      [types].flat().some((type) => TYPES[type]?.(value)),
      `${at} is no ${[types].flat().join(" or ")}: ${shown(value)}`,
    ),
  const: (only: unknown, value, _schema, at) =>
    unless(equal(only, value), `${at} is not ${shown(only)}: ${shown(value)}`),
  enum: (values: readonly unknown[], value, _schema, at) =>
    unless(
      values.some((one) => equal(one, value)),
      `${at} is none of ${shown(values)}: ${shown(value)}`,
    ),
  anyOf: (schemas: readonly JsonSchema[], value, _schema, at, resolve) => {
    const faults = schemas.map((schema) => schemaFaults(schema, value, resolve, at));
    // Of several that fail, the one that fails least is likely what was meant.
    return faults.reduce((best, some) => (some.length < best.length ? some : best));
  },
  allOf: (schemas: readonly JsonSchema[], value, _schema, at, resolve) =>
    schemas.flatMap((schema) => schemaFaults(schema, value, resolve, at)),
  properties: (properties: Readonly<Record<string, JsonSchema>>, value, _schema, at, resolve) =>
    isObject(value)
      ? Object.entries(properties).flatMap(([key, schema]) =>
          Object.hasOwn(value, key) ? schemaFaults(schema, value[key], resolve, `${at}.${key}`) : [],
        )
      : [],
  required: (keys: readonly string[], value, _schema, at) =>
    isObject(value) ? keys.flatMap((key) => unless(Object.hasOwn(value, key), `${at} has no ${key}`)) : [],
  additionalProperties: (rest: boolean | JsonSchema, value, { properties = {} }, at, resolve) =>
    isObject(value)
      ? Object.keys(value)
          .filter((key) => !Object.hasOwn(properties as object, key))
          .flatMap((key) => schemaFaults(rest, value[key], resolve, `${at}.${key}`))
      : [],
  propertyNames: (names: JsonSchema, value, _schema, at, resolve) =>
    isObject(value) ? Object.keys(value).flatMap((key) => schemaFaults(names, key, resolve, `a key of ${at}`)) : [],
  prefixItems: (schemas: readonly JsonSchema[], value, _schema, at, resolve) =>
    Array.isArray(value)
      ? value
          .slice(0, schemas.length)
          .flatMap((item, index) => schemaFaults(schemas[index] ?? {}, item, resolve, `${at}[${index}]`))
      : [],
  items: (rest: boolean | JsonSchema, value, { prefixItems = [] }, at, resolve) => {
    const before = (prefixItems as readonly unknown[]).length;
    return Array.isArray(value)
      ? value.slice(before).flatMap((item, index) => schemaFaults(rest, item, resolve, `${at}[${before + index}]`))
      : [];
  },
  minItems: (least: number, value, _schema, at) =>
    unless(!Array.isArray(value) || value.length >= least, `${at} has fewer than ${least} items`),
  maxItems: (most: number, value, _schema, at) =>
    unless(!Array.isArray(value) || value.length <= most, `${at} has more than ${most} items`),
  minimum: (least: number, value, _schema, at) =>
    unless(typeof value !== "number" || value >= least, `${at} is below ${least}: ${shown(value)}`),
  maximum: (most: number, value, _schema, at) =>
    unless(typeof value !== "number" || value <= most, `${at} is above ${most}: ${shown(value)}`),
  exclusiveMinimum: (bound: number, value, _schema, at) =>
    unless(typeof value !== "number" || value > bound, `${at} is not above ${bound}: ${shown(value)}`),
  multipleOf: (step: number, value, _schema, at) =>
    unless(typeof value !== "number" || value % step === 0, `${at} is no multiple of ${step}: ${shown(value)}`),
  minLength: (least: number, value, _schema, at) =>
    unless(typeof value !== "string" || [...value].length >= least, `${at} is shorter than ${least}`),
  maxLength: (most: number, value, _schema, at) =>
    unless(typeof value !== "string" || [...value].length <= most, `${at} is longer than ${most}`),
  pattern: (pattern: string, value, _schema, at) =>
    unless(
      typeof value !== "string" || new RegExp(pattern, "u").test(value),
      `${at} is not ${pattern}: ${shown(value)}`,
    ),
};

/**
 * What is wrong with a value, in lines that name the place; none when it conforms.
 * @throws Error for a keyword that is not known here, which would otherwise check nothing
 */
export function schemaFaults(
  schema: JsonSchema | boolean,
  value: unknown,
  resolve: Resolve,
  at = "the value",
): readonly string[] {
  if (schema === true) return [];
  if (schema === false) return [`${at} may not be there`];
  return Object.entries(schema).flatMap(([keyword, operand]) => {
    if (ANNOTATIONS.has(keyword)) return [];
    const rule = RULES[keyword];
    if (rule === undefined) throw new Error(`The JSON Schema keyword ${keyword} is not checked here`);
    return rule(operand as never, value, schema, at, resolve);
  });
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

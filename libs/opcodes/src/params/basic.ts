/** What every parameter is built from: required, optional or with a default, and the plain value types. */
import { z } from "zod";

/** A parameter that must be given; null is no value. */
export function required<T extends z.ZodType>(schema: T, doc: string): T {
  return schema.describe(doc);
}

/** A parameter that may be absent or null, which mean the same. */
export function optional<T extends z.ZodType>(schema: T, doc: string) {
  return schema.nullable().default(null).describe(doc);
}

/** A parameter with a default, which absence stands for, and so does null: clients of 3.x send it. */
export function withDefault<T extends z.ZodType>(schema: T, value: z.util.NoUndefined<z.output<T>>, doc: string) {
  return z.preprocess((given) => given ?? undefined, schema.default(value)).describe(doc);
}

/** A switch. Only JSON's true and false are one; 0 and 1 belong to query arguments. */
export function flag(doc: string, { default: value }: { readonly default: boolean } = { default: false }) {
  return withDefault(z.boolean(), value, doc);
}

export function optionalFlag(doc: string) {
  return optional(z.boolean(), doc);
}

export function requiredList<T extends z.ZodType>(entry: T, doc: string) {
  return required(z.array(entry), doc);
}

/** A list that is empty when absent. */
export function list<T extends z.ZodType>(entry: T, doc: string) {
  return withDefault(z.array(entry), [], doc);
}

/** A list whose order and repetitions mean nothing; empty when absent. */
export function set<T extends z.ZodType>(entry: T, doc: string) {
  return withDefault(
    z.array(entry).transform((entries) => [...new Set(entries)]),
    [],
    doc,
  );
}

export function optionalList<T extends z.ZodType>(entry: T, doc: string) {
  return optional(z.array(entry), doc);
}

export const nonNegative = z.int().nonnegative();
export const positive = z.int().positive();
/** A number of seconds or the like; whole numbers are numbers too. */
export const duration = z.number().nonnegative();

/** Characters of text that may hold line breaks (certificates, comments): enough for a chain of certificates. */
const TEXT_LIMIT = 65_536;
/** Characters of a name, path or address: Linux's PATH_MAX. */
const LINE_LIMIT = 4_096;

// biome-ignore lint/suspicious/noControlCharactersInRegex: keeping them out is what this is for
const NO_NUL = /^[^\u0000]*$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: keeping them out is what this is for
const NO_CONTROL = /^[^\u0000-\u001f\u007f]*$/;

/** Text, perhaps of several lines, perhaps empty. */
export const text = z.string().max(TEXT_LIMIT).regex(NO_NUL, { error: "must not hold a NUL character" });
/** Text on one line, perhaps empty. */
export const line = z.string().max(LINE_LIMIT).regex(NO_CONTROL, { error: "must not hold control characters" });
export const nonEmptyLine = line.min(1);

/**
 * The name of a parameter or key within an object. Python's and JavaScript's attribute names with two
 * underscores on each side are none.
 */
export const keyName = z
  .string()
  .regex(/^(?!__)[A-Za-z0-9_][\w.+-]{0,127}$/, { error: "must be a name of letters, digits, '_', '-', '.' and '+'" });

/** The value of one parameter of a hypervisor, backend, node, OS and the like. */
export const parameterValue = z.union([z.string().max(TEXT_LIMIT).regex(NO_NUL), z.number(), z.boolean(), z.null()], {
  error: "must be text, a number, true, false or null",
});

/** Parameters by name; which names there are is for the logical unit to check against the configuration. */
export const parameters = z.record(keyName, parameterValue);
/** An object whose values are looked at by the logical unit only. */
export const anyObject = z.record(keyName, z.unknown());

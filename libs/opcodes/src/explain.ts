/** Validation whose refusal is one readable line: what is wrong with which parameter. */
import type { z } from "zod";
import { REDACTED_PARAMS } from "./params/secrets.ts";

/** The value, or what is wrong with the input. */
export type Checked<T> = { readonly value: T } | { readonly fault: string };

type Path = readonly PropertyKey[];

/** Faults beyond these are left out of the line. */
const FAULTS_SHOWN = 3;
/** Characters of a refused value that are shown. */
const VALUE_SHOWN = 60;

/**
 * Parse input by a schema.
 * @param subject what has the parameters, such as an opcode's id; named where a parameter is unknown
 */
export function check<T extends z.ZodType>(schema: T, input: unknown, subject: string): Checked<z.output<T>> {
  const result = schema.safeParse(input, { error: predicateOf });
  if (result.success) return { value: result.data };
  const faults = unknownKeysFirst(result.error.issues)
    .slice(0, FAULTS_SHOWN)
    .map((issue) => lineOf(issue, input, subject));
  return { fault: faults.join("; ") };
}

/** A misspelt name also shows as one that is missing; the former tells more. */
function unknownKeysFirst(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const { unknown = [], other = [] } = Object.groupBy(issues, ({ code }) =>
    code === "unrecognized_keys" ? "unknown" : "other",
  );
  return [...unknown, ...other];
}

function lineOf(issue: z.core.$ZodIssue, input: unknown, subject: string): string {
  const name = nameOf(issue.path);
  if (issue.code === "unrecognized_keys") {
    const keys = issue.keys.map(shown).join(", ");
    return name === "" ? `${subject} has no parameter ${keys}` : `Parameter '${name}' has no key ${keys}`;
  }
  if (name === "") return `${subject} ${issue.message}`;
  const given = valueAt(input, issue.path);
  if (given === undefined || (given === null && issue.path.length === 1)) return `Parameter '${name}' is required`;
  return `Parameter '${name}' ${issue.message}${received(given, issue.path)}`;
}

/** `["nics", 0, "mode"]` is `nics[0].mode`. */
function nameOf(path: Path): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${clipped(String(part))}`))
    .join("")
    .replace(/^\./, "");
}

function valueAt(input: unknown, path: Path): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

function received(given: unknown, path: Path): string {
  if (given === "" || path.some((part) => REDACTED_PARAMS.has(String(part)))) return "";
  if (Array.isArray(given)) return ", not a list";
  return typeof given === "object" && given !== null ? ", not an object" : `, not ${shown(given)}`;
}

/** JSON, so that control characters cannot reach a terminal or a log. */
function shown(value: unknown): string {
  return clipped(JSON.stringify(value) ?? String(value));
}

function clipped(text: string): string {
  return text.length > VALUE_SHOWN ? `${text.slice(0, VALUE_SHOWN)}…` : text;
}

const KINDS: Readonly<Record<string, string>> = {
  array: "must be a list",
  boolean: "must be true or false",
  int: "must be a whole number",
  null: "must be null",
  number: "must be a number",
  object: "must be an object",
  record: "must be an object",
  string: "must be text",
  tuple: "must be a list",
};

/** What a value must be, where its schema does not say so itself. */
function predicateOf(issue: z.core.$ZodRawIssue): string {
  switch (issue.code) {
    case "invalid_type":
      return KINDS[issue.expected] ?? `must be ${issue.expected}`;
    case "invalid_value":
      return `must be ${issue.values.length === 1 ? "" : "one of "}${issue.values.map(String).join(", ")}`;
    case "too_small":
      return `must ${lower(issue)}`;
    case "too_big":
      return `must ${upper(issue)}`;
    case "not_multiple_of":
      return "must be a whole number";
    case "invalid_key":
      return "is no name that a key may have";
    default:
      return "has the wrong form";
  }
}

function lower({ origin, minimum, inclusive }: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall>): string {
  if (origin === "string") return minimum === 1 ? "not be empty" : `have at least ${minimum} characters`;
  if (origin === "array" || origin === "set") return `have at least ${minimum} entries`;
  return inclusive === false ? `be greater than ${minimum}` : `be at least ${minimum}`;
}

function upper({ origin, maximum, inclusive }: z.core.$ZodRawIssue<z.core.$ZodIssueTooBig>): string {
  if (origin === "string") return `have at most ${maximum} characters`;
  if (origin === "array" || origin === "set") return `have at most ${maximum} entries`;
  return inclusive === false ? `be less than ${maximum}` : `be at most ${maximum}`;
}

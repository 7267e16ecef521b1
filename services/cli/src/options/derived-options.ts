/** Options and arguments as they follow from a declaration's parameters: there is no second list of them. Pure. */
import { type JsonSchema, p } from "@gannet/opcodes";
import type { ArgumentSpec, Gathered, OptionSpec } from "./option-spec.ts";
import { joinValues, readDuration, readFile, readKeyValues, readValue } from "./read-value.ts";
import { spellingOf } from "./spellings.ts";
import { type ValueKind, valueKindOf } from "./value-kind.ts";

/** Parameters of a declaration as JSON Schema has them. */
export interface ParameterSchemas {
  readonly properties: Readonly<Record<string, JsonSchema>>;
  readonly required: readonly string[];
}

/** Named by others, or by nobody who types: UUIDs stand beside names, and `live` is an older form of `mode`. */
const UNSPOKEN = /^(.*_uuids?|live)$/;

/** Seconds, which may be given with a unit. */
const DURATION = /(^|_)(age|duration|expires_in|timeout)$/;

function readParam(param: string, kind: ValueKind, text: string, name: string): unknown {
  return kind.kind === "number" && DURATION.test(param) ? readDuration(text, name) : readValue(kind, text, name);
}

/** Their absence says what false says, although their declarations tell them apart. */
const TWO_STATES = /^(no|ignore)_/;

/**
 * @param command `instance add`
 * @param taken parameters that arguments, or the command itself, give
 */
export function derivedOptions(
  command: string,
  { properties }: ParameterSchemas,
  taken: ReadonlySet<string>,
): readonly OptionSpec[] {
  return Object.entries(properties)
    .filter(([param]) => !UNSPOKEN.test(param) && !taken.has(param))
    .flatMap(([param, schema]) => optionsOf(command, param, schema));
}

function optionsOf(command: string, param: string, schema: JsonSchema): readonly OptionSpec[] {
  const spelling = spellingOf(command, param);
  if (spelling === null) return [];
  const doc = typeof schema.description === "string" ? schema.description : "";
  if (p.REDACTED_PARAMS.has(param)) return [secretOption(spelling, doc, param)];
  const kind = valueKindOf(schema);
  if (kind.kind === "flag" && (kind.unset !== null || TWO_STATES.test(param)))
    return switches(spelling, doc, param, kind.unset ?? false);
  return [
    {
      flags: `${spelling} <${placeholder(kind)}>`,
      doc,
      ...(kind.kind === "word" && { words: kind.words }),
      ...(kind.kind === "flag" && { words: ["yes", "no"] }),
      apply: ({ params }, value) => {
        params[param] = joinValues(kind, params[param], readParam(param, kind, value, longName(spelling)));
      },
    },
  ];
}

/** The one that changes something is shown, the other understood. */
function switches(spelling: string, doc: string, param: string, unset: boolean): readonly OptionSpec[] {
  const set =
    (value: boolean) =>
    ({ params }: Gathered) => {
      params[param] = value;
    };
  const opposite = negated(longName(spelling));
  if (unset)
    return [
      { flags: opposite, doc: `Turn off: ${doc}`, apply: set(false) },
      { flags: spelling, doc, hidden: true, apply: set(true) },
    ];
  return [
    { flags: spelling, doc, apply: set(true) },
    { flags: opposite, doc, hidden: true, apply: set(false) },
  ];
}

function negated(name: string): string {
  return name.startsWith("--no-") ? name.replace("--no-", "--") : name.replace("--", "--no-");
}

/** `--disk-template` of `-t, --disk-template` */
export function longName(flags: string): string {
  return /--[\w-]+/.exec(flags)?.[0] ?? flags;
}

/** What an argv shows to everybody who may list processes is no place for a secret: a file has it. */
function secretOption(spelling: string, doc: string, param: string): OptionSpec {
  const name = longName(spelling);
  return {
    flags: `${spelling} <file>`,
    doc: `${doc} A file of JSON or of lines key=value; - is standard input.`,
    apply: ({ params }, value) => {
      const text = readFile(value, name).trim();
      params[param] = text.startsWith("{") ? readValue({ kind: "json" }, text, name) : linesOf(text, name);
    },
  };
}

function linesOf(text: string, name: string): Readonly<Record<string, unknown>> {
  const settings = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => readKeyValues(line.replaceAll("\\", "\\\\").replaceAll(",", "\\,"), name));
  return Object.assign({}, ...settings) as Readonly<Record<string, unknown>>;
}

function placeholder(kind: ValueKind): string {
  switch (kind.kind) {
    case "flag":
      return "yes|no";
    case "number":
      return "number";
    case "text":
      return "text";
    case "word":
      return kind.words.length <= 4 ? kind.words.join("|") : "word";
    case "list":
      return "a,b,...";
    case "settings":
      return `${kind.names === null ? "" : "name:".repeat(kind.names)}key=value,...`;
    case "json":
      return "json|@file";
  }
}

/**
 * Arguments by position, in their order; the last takes all that follows when it is a list.
 * @param names parameters
 */
export function derivedArguments(
  names: readonly string[],
  { properties, required }: ParameterSchemas,
): readonly ArgumentSpec[] {
  return names.map((name, index) => {
    const schema = properties[name] ?? {};
    return {
      name,
      doc: typeof schema.description === "string" ? schema.description : "",
      required: required.includes(name),
      variadic: index === names.length - 1 && valueKindOf(schema).kind === "list",
    };
  });
}

/**
 * The parameters that arguments give.
 * @throws OpPrereqError wrong_input
 */
export function argumentParams(
  names: readonly string[],
  { properties }: ParameterSchemas,
  given: readonly (string | readonly string[] | undefined)[],
): Readonly<Record<string, unknown>> {
  const params: Record<string, unknown> = {};
  names.forEach((name, index) => {
    const value = given[index];
    if (value === undefined || value.length === 0) return;
    const kind = valueKindOf(properties[name] ?? {});
    params[name] =
      typeof value === "string"
        ? readArgument(kind, value, name)
        : value.map((one) => (kind.kind === "list" ? readValue(kind.item, one, name) : one));
  });
  return params;
}

/** An argument that takes JSON is a file of it, unless it looks like JSON. */
function readArgument(kind: ValueKind, value: string, name: string): unknown {
  if (kind.kind !== "json" || /^\s*[[{@"]/.test(value)) return readParam(name, kind, value, name);
  return readValue(kind, `@${value}`, name);
}

/**
 * Parameters as data: a table says each name's type, default and bounds, and everything that reads or checks
 * parameters goes by the table.
 */
import { OpPrereqError, TypeEnforcementError } from "@gannet/errors";
import type { Parameters, ParameterValue } from "./model.ts";
import type { ParameterSyntax } from "./parameter-syntax.ts";
import { syntaxProblem } from "./parameter-syntax.ts";
import { parseSizeMib } from "./size.ts";

/** `size` is in MiB and accepts a unit; `maybe-string` is a string or null. */
export type ParameterType = "bool" | "int" | "float" | "size" | "string" | "maybe-string";

export interface ParameterDefinition {
  readonly type: ParameterType;
  readonly default: ParameterValue;
  /** One phrase, for reference pages. */
  readonly doc: string;
  /** The empty string and null are refused. */
  readonly required?: true;
  /** Only the cluster can set it. */
  readonly global?: true;
  /** The values allowed; the empty string too, unless it is required. */
  readonly choices?: readonly (string | number)[];
  readonly min?: number;
  readonly max?: number;
  readonly syntax?: ParameterSyntax;
  /** What the path must be on the node where the guest starts; the node's driver checks it. URLs are exempt. */
  readonly onNode?: "file" | "directory";
  /**
   * Who sets it can have a node run programs of his choice, or read its files, as root: it takes a right of its own.
   * `any-value` but the default does; or a `foreign-path`, one below none of the folders that the cluster's
   * administrator has named for such files.
   */
  readonly needsRoot?: "any-value" | "foreign-path";
}

export type ParameterTable = Readonly<Record<string, ParameterDefinition>>;

/** In a change: go back to what is inherited. */
export const INHERIT = "default";
/** In a new object: take the cluster's present value as one's own. */
export const AUTO = "auto";

/** Text in a parameter ends up in one argument of a command: Linux allows 128 KiB, this leaves room. */
const MAX_TEXT_LENGTH = 16_384;
/** Control characters have no use in any parameter, and a NUL cannot be passed to a command at all. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is what it is for
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

/** Every parameter with its default. */
export function defaultsOf(table: ParameterTable): Parameters {
  return Object.fromEntries(Object.entries(table).map(([name, { default: value }]) => [name, value]));
}

/**
 * The values with the types their table asks for. Text stands for a boolean, an integer or a size where it
 * is one, as in Ganeti: clients send `"true"`, `"128"`, `"1g"`.
 * @param what - names the kind of parameter in messages: "kvm parameter"
 * @throws TypeEnforcementError on an unknown name or a value that cannot be read as its type
 */
export function enforceTypes(
  what: string,
  table: ParameterTable,
  values: Readonly<Record<string, unknown>>,
): Parameters {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, coerce(what, name, definitionOf(what, table, name), value)]),
  );
}

/**
 * The values of one level after a change: `"default"` drops the level's own value, anything else sets it.
 * @throws TypeEnforcementError as {@link enforceTypes}
 */
export function updateParameters(
  what: string,
  table: ParameterTable,
  current: Parameters,
  changes: Readonly<Record<string, unknown>>,
): Parameters {
  const next: Record<string, ParameterValue> = { ...current };
  for (const [name, value] of Object.entries(changes)) {
    const definition = definitionOf(what, table, name);
    if (value === INHERIT) delete next[name];
    else next[name] = coerce(what, name, definition, value);
  }
  return next;
}

/** The values with each `"auto"` replaced by what is inherited now. */
export function resolveAuto(
  values: Readonly<Record<string, unknown>>,
  inherited: Parameters,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      name,
      value === AUTO && name in inherited ? inherited[name] : value,
    ]),
  );
}

/**
 * What is wrong with complete, correctly typed values: one readable line each, empty when nothing is.
 * Rules that tie several parameters together are the caller's.
 */
export function parameterProblems(what: string, table: ParameterTable, values: Parameters): readonly string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    const definition = Object.hasOwn(table, name) ? table[name] : undefined;
    const problem = definition === undefined ? "is not known" : valueProblem(definition, value);
    return problem === undefined ? [] : [`${what} '${name}' ${problem}`];
  });
}

/** @throws OpPrereqError `wrong_input` that lists all problems, when there are any */
export function refuseProblems(problems: readonly string[]): void {
  if (problems.length > 0) throw new OpPrereqError(problems.join("; "), "wrong_input");
}

function definitionOf(what: string, table: ParameterTable, name: string): ParameterDefinition {
  const definition = Object.hasOwn(table, name) ? table[name] : undefined;
  if (definition === undefined) throw new TypeEnforcementError(`Unknown ${what} '${name}'`);
  return definition;
}

function valueProblem(definition: ParameterDefinition, value: ParameterValue): string | undefined {
  if (value === "" || value === null) return definition.required ? "must not be empty" : undefined;
  if (definition.choices !== undefined && !definition.choices.some((choice) => choice === value))
    return `is ${JSON.stringify(value)}; it must be one of ${definition.choices.join(", ")}`;
  if (typeof value === "number") return rangeProblem(definition, value);
  const wanted =
    definition.syntax !== undefined && typeof value === "string" ? syntaxProblem(definition.syntax, value) : undefined;
  return wanted === undefined ? undefined : `is ${JSON.stringify(value)}; it must be ${wanted}`;
}

function rangeProblem({ min, max }: ParameterDefinition, value: number): string | undefined {
  if (min !== undefined && value < min) return `is ${value}; it must be at least ${min}`;
  if (max !== undefined && value > max) return `is ${value}; it must be at most ${max}`;
  return undefined;
}

const TYPE_NAMES: Readonly<Record<ParameterType, string>> = {
  bool: "a valid boolean",
  int: "a valid integer",
  float: "a valid number",
  size: "a valid size: give MiB as a whole number, or a number with a unit (m, g, t)",
  string: "valid text",
  "maybe-string": "valid text or null",
};

function coerce(what: string, name: string, definition: ParameterDefinition, value: unknown): ParameterValue {
  const coerced = COERCIONS[definition.type](value);
  if (coerced === undefined)
    throw new TypeEnforcementError(
      `${what} '${name}' (value ${JSON.stringify(value)?.slice(0, 100)}) is not ${TYPE_NAMES[definition.type]}`,
    );
  return coerced;
}

/** Undefined: the value cannot be read as that type. */
const COERCIONS: Readonly<Record<ParameterType, (value: unknown) => ParameterValue | undefined>> = {
  bool: toBoolean,
  int: toInteger,
  float: toFloat,
  size: parseSizeMib,
  string: toText,
  "maybe-string": (value) => (value === null ? null : toText(value)),
};

function toBoolean(value: unknown): boolean | undefined {
  if (typeof value === "boolean") return value;
  if (value === 1 || value === 0) return value === 1;
  if (typeof value !== "string") return undefined;
  const word = value.toLowerCase();
  if (word === "true") return true;
  return word === "false" || word === "" ? false : undefined;
}

function toInteger(value: unknown): number | undefined {
  const number = typeof value === "string" && /^\s*[+-]?\d+\s*$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined;
}

function toFloat(value: unknown): number | undefined {
  const number = typeof value === "string" && /^\s*[+-]?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value;
  return typeof number === "number" && Number.isFinite(number) ? number : undefined;
}

/** `false` stands for the empty text: Ganeti's command line makes it of `no_kernel_path`. */
function toText(value: unknown): string | undefined {
  if (value === false) return "";
  if (typeof value !== "string" || value.length > MAX_TEXT_LENGTH) return undefined;
  return CONTROL_CHARACTER.test(value) ? undefined : value;
}

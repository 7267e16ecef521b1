/**
 * The filter language of queries, compiled to predicates (spec/query-fields.json, `filter_language`). A
 * filter is a list whose first item is an operator: `["&", ["?", "oper_state"], ["=", "pnode", "node2"]]`.
 */
import { OpPrereqError } from "@gannet/errors";
import type { MatchMode } from "../field.ts";
import type { Cell } from "../result-status.ts";
import { RESULT_STATUS } from "../result-status.ts";
import { compileRegex } from "./linear-regex.ts";

export type Predicate<Row> = (row: Row) => boolean;

/** What a filter needs to know of a field. */
export interface FilterOperand<Row> {
  readonly cell: (row: Row) => Cell;
  readonly match?: MatchMode;
}

/** How many levels a filter may have; each is one call inside another. */
const MAX_DEPTH = 64;
/** How many conditions; each is evaluated for every row on the master's only thread. */
const MAX_CONDITIONS = 1000;

/**
 * Compile a filter. A cell without a value passes every condition, so that what is not known now is not
 * hidden; a negated condition does not let it pass.
 * @param filter - as parsed from JSON; null lets everything pass
 * @param operandOf - the field of a name, or undefined when there is none
 * @returns a predicate, which throws OpPrereqError `wrong_input` when a value cannot be compared
 * @throws OpPrereqError `wrong_input` on a malformed filter or an unknown field
 */
export function compileFilter<Row>(
  filter: unknown,
  operandOf: (field: string) => FilterOperand<Row> | undefined,
): Predicate<Row> {
  if (filter === null || filter === undefined) return () => true;
  return new FilterCompiler(operandOf).compile(filter, 0);
}

/** A value to compare with. Booleans are compared for equality only. */
type FilterValue = string | number | boolean;

class FilterCompiler<Row> {
  readonly #operandOf: (field: string) => FilterOperand<Row> | undefined;
  #conditions = 0;

  constructor(operandOf: (field: string) => FilterOperand<Row> | undefined) {
    this.#operandOf = operandOf;
  }

  compile(filter: unknown, depth: number): Predicate<Row> {
    if (depth >= MAX_DEPTH) throw wrong(`The filter has more than ${MAX_DEPTH} levels`);
    const [operator, ...args] = asOperation(filter);
    switch (operator) {
      case "|": {
        const parts = args.map((part) => this.compile(part, depth + 1));
        return (row) => parts.some((part) => part(row));
      }
      case "&": {
        const parts = args.map((part) => this.compile(part, depth + 1));
        return (row) => parts.every((part) => part(row));
      }
      case "!": {
        expectArguments(operator, args, 1);
        const part = this.compile(args[0], depth + 1);
        return (row) => !part(row);
      }
      default:
        return this.#condition(operator, args);
    }
  }

  #condition(operator: string, args: readonly unknown[]): Predicate<Row> {
    if (++this.#conditions > MAX_CONDITIONS) throw wrong(`The filter has more than ${MAX_CONDITIONS} conditions`);
    if (operator === "?") {
      expectArguments(operator, args, 1);
      return this.#onValue(args[0], () => isTrue);
    }
    const test = Object.hasOwn(CONDITIONS, operator) ? CONDITIONS[operator] : undefined;
    if (test === undefined) throw wrong(`Unknown filter operator ${JSON.stringify(operator).slice(0, 40)}`);
    expectArguments(operator, args, 2);
    const value = asValue(args[1]);
    return this.#onValue(args[0], (field, match) => test(field, value, match));
  }

  /** A predicate on the value of a field's cell. */
  #onValue(
    field: unknown,
    testOf: (field: string, match: MatchMode | undefined) => (value: unknown) => boolean,
  ): Predicate<Row> {
    if (typeof field !== "string") throw wrong("A filter condition names its field by a text");
    const operand = this.#operandOf(field);
    if (operand === undefined) throw wrong(`Unknown field '${field.slice(0, 80)}' in the filter`);
    const { cell: cellOf } = operand;
    const test = testOf(field, operand.match);
    return (row) => {
      const [status, value] = cellOf(row);
      return status !== RESULT_STATUS.normal || test(value);
    };
  }
}

type Condition = (field: string, wanted: FilterValue, match: MatchMode | undefined) => (value: unknown) => boolean;

const isEqual: Condition = (field, wanted, match) => {
  if (match === "host" && typeof wanted === "string") {
    const withDomain = `${wanted}.`;
    return (value) => value === wanted || (typeof value === "string" && value.startsWith(withDomain));
  }
  return (value) => value !== null && comparable(field, value, wanted, match) === wanted;
};

function ordered(holds: (value: string | number, wanted: string | number) => boolean): Condition {
  return (field, wanted, match) => {
    if (typeof wanted === "boolean") throw wrong(`Field '${field}' cannot be ordered against a boolean`);
    return (value) => {
      if (value === null) return false;
      const left = comparable(field, value, wanted, match);
      return typeof left !== "boolean" && holds(left, wanted);
    };
  };
}

const CONDITIONS: Readonly<Record<string, Condition>> = {
  "=": isEqual,
  "==": isEqual,
  "!=": (field, wanted, match) => {
    const equal = isEqual(field, wanted, match);
    return (value) => !equal(value);
  },
  "<": ordered((value, wanted) => value < wanted),
  ">": ordered((value, wanted) => value > wanted),
  "<=": ordered((value, wanted) => value <= wanted),
  ">=": ordered((value, wanted) => value >= wanted),
  "=~": (field, wanted) => {
    if (typeof wanted !== "string") throw wrong("A regular expression must be a text");
    const matches = compileRegex(wanted);
    return (value) => {
      if (value !== null && typeof value !== "string")
        throw wrong(`Field '${field}' holds no text that an expression could match`);
      return value !== null && matches(value);
    };
  },
  "=[]": (field, wanted) => (value) => {
    if (!Array.isArray(value)) throw wrong(`Field '${field}' is no list that could hold ${JSON.stringify(wanted)}`);
    return value.includes(wanted);
  },
};

/** True as in Python: booleans are themselves, numbers other than 0 and whatever is not empty are true. */
function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** The value of a cell in the form in which it is compared. @throws when it has another type than what is wanted */
function comparable(field: string, value: unknown, wanted: FilterValue, match: MatchMode | undefined): FilterValue {
  const left = match === "timestamp" && Array.isArray(value) ? (value[0] as unknown) : value;
  if (typeof left === "string" || typeof left === "number" || typeof left === "boolean")
    if (typeof left === typeof wanted) return left;
  throw wrong(
    `Field '${field}' holds ${typeName(left)} and cannot be compared with ${JSON.stringify(wanted).slice(0, 80)}`,
  );
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  const names: Readonly<Record<string, string>> = { string: "a text", number: "a number", boolean: "true or false" };
  return names[typeof value] ?? "an object";
}

function asOperation(filter: unknown): readonly [operator: string, ...args: readonly unknown[]] {
  if (!Array.isArray(filter) || typeof filter[0] !== "string")
    throw wrong('A filter is a list that begins with an operator, such as ["==", "name", "web1"]');
  return filter as [string, ...unknown[]];
}

function asValue(value: unknown): FilterValue {
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number" && Number.isInteger(value)) return value;
  throw wrong(`A filter compares with a text or a whole number, not with ${JSON.stringify(value)?.slice(0, 80)}`);
}

function expectArguments(operator: string, args: readonly unknown[], count: number): void {
  if (args.length !== count)
    throw wrong(`Filter operator '${operator}' takes ${count} argument${count === 1 ? "" : "s"}, not ${args.length}`);
}

function wrong(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}

/**
 * The names that a filter asks for, when it does nothing else: one `==` on the name field, or several joined
 * by `|`. Such a query is answered by looking them up. Undefined when the filter is another one.
 */
export function namesAskedFor(filter: unknown, nameField: string): readonly (string | number)[] | undefined {
  if (!Array.isArray(filter)) return undefined;
  const [operator, ...args] = filter as readonly unknown[];
  if (operator === "=" || operator === "==") {
    const [field, value] = args;
    const isName = args.length === 2 && field === nameField && (typeof value === "string" || typeof value === "number");
    return isName ? [value] : undefined;
  }
  if (operator !== "|" || args.length === 0) return undefined;
  const names = new Set<string | number>();
  for (const part of args) {
    // One level only: a list of names is never written deeper, and a deep filter is the compiler's to refuse.
    const [name, ...more] = Array.isArray(part) && part[0] !== "|" ? (namesAskedFor(part, nameField) ?? []) : [];
    if (name === undefined || more.length > 0) return undefined;
    names.add(name);
  }
  return [...names];
}

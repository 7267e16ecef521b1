/**
 * Filters as people write them on a command line, made into the language of queries (ganeti(7), "Query
 * filters"; spec/query-fields.json, `text_syntax`): `status == "running" and "red" in tags`.
 */
import { OpPrereqError } from "@gannet/errors";

/** A filter in the form that queries take: an operator, then what it works on. */
export type Filter = readonly (string | number | Filter)[];

/** Characters that occur in no name: text that has one of them is a filter. */
const FILTER_CHARACTER = /[\t\n\v\f\r !"'()/<=>\\~]/;
const GLOB_CHARACTER = /[*?]/;
const MAX_LENGTH = 100_000;
const MAX_DEPTH = 60;

const WHITE_SPACE = /\s*/y;
const FIELD = /[A-Za-z0-9/._]+/y;
const INTEGER = /[+-]?\d+/y;
const COMPARISON = /==|!=|<=|>=|=~|!~|=\*|!\*|=|<|>/y;
const KEYWORDS = new Set(["and", "or", "not", "in"]);
/** What may stand around a regular expression. */
const REGEX_DELIMITERS = "/#^|";

/**
 * @throws OpPrereqError `wrong_input` that says where the text stops making sense
 */
export function parseFilterText(text: string): Filter {
  return new FilterTextParser(text).parse();
}

/**
 * The filter of a command's arguments: one filter text, or names and patterns of names; null without any.
 * @param nameField - the field that holds names; numbers are compared as such when `numeric` is set
 * @throws OpPrereqError `wrong_input`
 */
export function filterOfArguments(
  args: readonly string[],
  options: { readonly nameField: string; readonly numeric?: boolean; readonly force?: boolean },
): Filter | null {
  const [only] = args;
  if (only === undefined) return null;
  if (args.length === 1 && (options.force || FILTER_CHARACTER.test(only))) return parseFilterText(only);
  if (options.force) throw wrong("Give one filter, in quotes");
  return ["|", ...args.map((argument) => nameFilter(argument, options))];
}

function nameFilter(argument: string, { nameField, numeric }: { nameField: string; numeric?: boolean }): Filter {
  if (numeric) {
    if (!/^\d+$/.test(argument)) throw wrong(`'${argument}' is no number`);
    return ["==", nameField, Number(argument)];
  }
  return GLOB_CHARACTER.test(argument) ? ["=~", nameField, globToRegex(argument)] : ["==", nameField, argument];
}

/** The regular expression of a pattern with `*` and `?`, which matches whole texts. */
export function globToRegex(glob: string): string {
  const parts: Readonly<Record<string, string>> = { "*": ".*", "?": "." };
  const inner = [...glob].map((character) => parts[character] ?? character.replace(/[^A-Za-z0-9_\s]/, "\\$&")).join("");
  return `^${inner}$`;
}

class FilterTextParser {
  readonly #text: string;
  #position = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Filter {
    if (this.#text.length > MAX_LENGTH) throw wrong(`A filter has at most ${MAX_LENGTH} characters`);
    const filter = this.#either();
    this.#skipSpace();
    if (this.#position < this.#text.length) throw this.#unexpected("'and', 'or' or the end");
    return filter;
  }

  #either(): Filter {
    return this.#joined("|", "or", () => this.#joined("&", "and", () => this.#negation()));
  }

  #joined(operator: string, keyword: string, part: () => Filter): Filter {
    const first = part();
    const more: Filter[] = [];
    while (this.#takeKeyword(keyword)) more.push(part());
    return more.length === 0 ? first : [operator, first, ...more];
  }

  #negation(): Filter {
    if (++this.#depth > MAX_DEPTH) throw wrong("The filter is nested too deeply");
    const filter: Filter = this.#takeKeyword("not") ? ["!", this.#negation()] : this.#condition();
    this.#depth--;
    return filter;
  }

  #condition(): Filter {
    if (this.#take("(")) {
      const filter = this.#either();
      if (!this.#take(")")) throw this.#unexpected("')'");
      return filter;
    }
    const value = this.#value();
    if (value !== undefined) return this.#membership(value);
    const field = this.#field();
    const operator = this.#match(COMPARISON);
    return operator === undefined ? ["?", field] : this.#comparison(field, operator);
  }

  /** `<value> [not] in <field>` */
  #membership(value: string | number): Filter {
    const negated = this.#takeKeyword("not");
    if (!this.#takeKeyword("in")) throw this.#unexpected("'in' and a field");
    const filter: Filter = ["=[]", this.#field(), value];
    return negated ? ["!", filter] : filter;
  }

  #comparison(field: string, operator: string): Filter {
    switch (operator) {
      case "=~":
        return ["=~", field, this.#regex()];
      case "!~":
        return ["!", ["=~", field, this.#regex()]];
      case "=*":
        return ["=~", field, globToRegex(this.#quoted() ?? this.#fail("a pattern in quotes"))];
      case "!*":
        return ["!", ["=~", field, globToRegex(this.#quoted() ?? this.#fail("a pattern in quotes"))]];
      default:
        return [operator, field, this.#value() ?? this.#fail("a text in quotes or a whole number")];
    }
  }

  #value(): string | number | undefined {
    const quoted = this.#quoted();
    if (quoted !== undefined) return quoted;
    const start = this.#position;
    const digits = this.#match(INTEGER);
    if (digits === undefined) return undefined;
    // A field may begin with a digit; a number is followed by something else.
    if (/[A-Za-z/._]/.test(this.#text[this.#position] ?? "")) {
      this.#position = start;
      return undefined;
    }
    return Number(digits);
  }

  #quoted(): string | undefined {
    this.#skipSpace();
    const quote = this.#text[this.#position];
    if (quote !== '"' && quote !== "'") return undefined;
    return this.#delimited(quote).replace(/\\(.)/gs, "$1");
  }

  /** `m/…/` with modifiers; the `m` may be missing. */
  #regex(): string {
    this.#skipSpace();
    if (this.#text[this.#position] === "m") this.#position++;
    const delimiter = this.#text[this.#position];
    if (delimiter === undefined || !REGEX_DELIMITERS.includes(delimiter))
      return this.#fail("an expression such as m/^web/");
    // Other escapes belong to the expression.
    const pattern = this.#delimited(delimiter).replaceAll(`\\${delimiter}`, delimiter);
    const modifiers = /[a-z]*/y;
    modifiers.lastIndex = this.#position;
    const [flags = ""] = modifiers.exec(this.#text) ?? [];
    if (/[^is]/.test(flags)) return this.#fail("the modifiers i and s only");
    this.#position += flags.length;
    return flags === "" ? pattern : `(?${[...new Set(flags)].sort().join("")})${pattern}`;
  }

  /** The text up to the next delimiter that is not escaped; escapes stay. */
  #delimited(delimiter: string): string {
    const start = this.#position + 1;
    for (let end = start; end < this.#text.length; end++) {
      if (this.#text[end] === "\\") end++;
      else if (this.#text[end] === delimiter) {
        this.#position = end + 1;
        return this.#text.slice(start, end);
      }
    }
    return this.#fail(`a closing ${delimiter}`);
  }

  #field(): string {
    const start = this.#position;
    const field = this.#match(FIELD);
    if (field !== undefined && !KEYWORDS.has(field)) return field;
    this.#position = start;
    return this.#fail("a field");
  }

  #takeKeyword(keyword: string): boolean {
    const start = this.#position;
    if (this.#match(FIELD) === keyword) return true;
    this.#position = start;
    return false;
  }

  #take(character: string): boolean {
    this.#skipSpace();
    if (this.#text[this.#position] !== character) return false;
    this.#position++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    this.#skipSpace();
    pattern.lastIndex = this.#position;
    const [found] = pattern.exec(this.#text) ?? [];
    if (found !== undefined) this.#position += found.length;
    return found;
  }

  #skipSpace(): void {
    WHITE_SPACE.lastIndex = this.#position;
    this.#position += WHITE_SPACE.exec(this.#text)?.[0].length ?? 0;
  }

  #fail(wanted: string): never {
    throw this.#unexpected(wanted);
  }

  #unexpected(wanted: string): OpPrereqError {
    const rest = this.#text.slice(this.#position, this.#position + 40);
    const place = rest.trim() === "" ? "the end" : JSON.stringify(rest);
    return wrong(`The filter needs ${wanted} at ${place}`);
  }
}

function wrong(message: string): OpPrereqError {
  return new OpPrereqError(message, "wrong_input");
}

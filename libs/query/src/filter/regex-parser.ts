/** The syntax of regular expressions in filters: Perl's, without what needs backtracking. */
import { OpPrereqError } from "@gannet/errors";

/** Whether a UTF-16 code unit is accepted. */
export type CharTest = (code: number) => boolean;

export type Assertion =
  | "text start"
  | "text end"
  | "end"
  | "line start"
  | "line end"
  | "word boundary"
  | "no word boundary";

export type PatternNode =
  | { readonly type: "char"; readonly accepts: CharTest }
  | { readonly type: "assert"; readonly assertion: Assertion }
  | { readonly type: "sequence"; readonly parts: readonly PatternNode[] }
  | { readonly type: "choice"; readonly options: readonly PatternNode[] }
  /** Without `max` there is no upper bound. */
  | { readonly type: "repeat"; readonly part: PatternNode; readonly min: number; readonly max?: number };

export interface ParsedPattern {
  readonly node: PatternNode;
  /** The error to throw when the pattern turns out to need too much. */
  readonly tooLarge: () => Error;
}

const MAX_LENGTH = 1000;
/** Groups inside groups; the parser calls itself once for each. */
const MAX_DEPTH = 100;

const between =
  (low: number, high: number): CharTest =>
  (code) =>
    code >= low && code <= high;
const either =
  (...tests: readonly CharTest[]): CharTest =>
  (code) =>
    tests.some((test) => test(code));
const not =
  (test: CharTest): CharTest =>
  (code) =>
    !test(code);
const oneOf = (characters: string): CharTest => {
  const codes = new Set([...characters].map((character) => character.charCodeAt(0)));
  return (code) => codes.has(code);
};

const LINE_BREAK = 10;
const isDigit = between(48, 57);
const isUpper = between(65, 90);
const isLower = between(97, 122);
export const isWordCode: CharTest = either(isDigit, isUpper, isLower, oneOf("_"));
const isSpace = oneOf(" \t\n\r\f\v");

const CLASS_ESCAPES: Readonly<Record<string, CharTest>> = {
  d: isDigit,
  D: not(isDigit),
  w: isWordCode,
  W: not(isWordCode),
  s: isSpace,
  S: not(isSpace),
};
const NAMED_CLASSES: Readonly<Record<string, CharTest>> = {
  alnum: either(isDigit, isUpper, isLower),
  alpha: either(isUpper, isLower),
  digit: isDigit,
  lower: isLower,
  space: isSpace,
  upper: isUpper,
  word: isWordCode,
  xdigit: either(isDigit, between(65, 70), between(97, 102)),
};
const CONTROL_ESCAPES: Readonly<Record<string, number>> = { t: 9, n: LINE_BREAK, v: 11, f: 12, r: 13, e: 27, a: 7 };
const ASSERTION_ESCAPES: Readonly<Record<string, Assertion>> = {
  b: "word boundary",
  B: "no word boundary",
  A: "text start",
  Z: "end",
  z: "text end",
};

/** @throws OpPrereqError `wrong_input` */
export function parsePattern(pattern: string): ParsedPattern {
  return new PatternParser(pattern).parse();
}

class PatternParser {
  readonly #pattern: string;
  #position = 0;
  #depth = 0;
  #ignoreCase = false;
  #dotMatchesAll = false;
  #multiline = false;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  parse(): ParsedPattern {
    if (this.#pattern.length > MAX_LENGTH) throw this.#error(`it is longer than ${MAX_LENGTH} characters`);
    this.#leadingFlags();
    const node = this.#choice();
    if (this.#position < this.#pattern.length) throw this.#error("unbalanced )");
    return { node, tooLarge: () => this.#error("it repeats too much") };
  }

  #leadingFlags(): void {
    const [whole, flags = ""] = /^\(\?([ims]+)\)/.exec(this.#pattern) ?? [];
    if (whole === undefined) return;
    this.#position = whole.length;
    this.#ignoreCase = flags.includes("i");
    this.#dotMatchesAll = flags.includes("s");
    this.#multiline = flags.includes("m");
  }

  #choice(): PatternNode {
    const options = [this.#sequence()];
    while (this.#take("|")) options.push(this.#sequence());
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { type: "choice", options };
  }

  #sequence(): PatternNode {
    const parts: PatternNode[] = [];
    while (this.#position < this.#pattern.length && this.#peek() !== "|" && this.#peek() !== ")")
      parts.push(this.#repetition(this.#atom()));
    return { type: "sequence", parts };
  }

  #repetition(part: PatternNode): PatternNode {
    const [whole, word = "", from, comma, to] =
      /^(?:([*+?])|\{(\d{1,4})(?:(,)(\d{1,4})?)?\})/.exec(this.#pattern.slice(this.#position, this.#position + 16)) ??
      [];
    if (whole === undefined) return part;
    this.#position += whole.length;
    // Whether a quantifier is greedy changes what is matched, not whether.
    const lazy = this.#take("?");
    if (!lazy && this.#peek() === "+") throw this.#error("possessive quantifiers are not supported");
    if (this.#startsQuantifier()) throw this.#error("nothing to repeat");
    if (word !== "") return { type: "repeat", part, min: word === "+" ? 1 : 0, ...(word === "?" ? { max: 1 } : {}) };
    const min = Number(from);
    const max = comma === undefined ? min : to === undefined ? undefined : Number(to);
    if (max !== undefined && max < min) throw this.#error(`{${min},${max}} has its numbers in the wrong order`);
    return { type: "repeat", part, min, ...(max === undefined ? {} : { max }) };
  }

  #startsQuantifier(): boolean {
    return /^(?:[*+?]|\{\d{1,4}(?:,\d{0,4})?\})/.test(this.#pattern.slice(this.#position, this.#position + 16));
  }

  #atom(): PatternNode {
    if (this.#startsQuantifier()) throw this.#error("nothing to repeat");
    const character = this.#next();
    switch (character) {
      case "(":
        return this.#group();
      case "[":
        return this.#char(this.#charClass());
      case ".":
        return this.#char(this.#dotMatchesAll ? () => true : (code) => code !== LINE_BREAK);
      case "^":
        return { type: "assert", assertion: this.#multiline ? "line start" : "text start" };
      case "$":
        return { type: "assert", assertion: this.#multiline ? "line end" : "end" };
      case "\\":
        return this.#escape();
      default:
        return this.#literal(character.charCodeAt(0));
    }
  }

  #group(): PatternNode {
    const [introduction] = /^\?(?::|P?<[A-Za-z_]\w*>)/.exec(this.#pattern.slice(this.#position)) ?? [];
    if (introduction !== undefined) this.#position += introduction.length;
    else if (this.#peek() === "?") throw this.#error("look-around and flags inside a pattern are not supported");
    if (++this.#depth > MAX_DEPTH) throw this.#error("its groups are nested too deeply");
    const node = this.#choice();
    this.#depth--;
    if (!this.#take(")")) throw this.#error("missing )");
    return node;
  }

  #escape(): PatternNode {
    const letter = this.#next();
    const assertion = ASSERTION_ESCAPES[letter];
    if (assertion !== undefined) return { type: "assert", assertion };
    if (/[1-9]/.test(letter)) throw this.#error("references to groups are not supported");
    return this.#char(CLASS_ESCAPES[letter] ?? equals(this.#escapedCode(letter)));
  }

  /** The code that an escape stands for, whose letter has been read. */
  #escapedCode(letter: string): number {
    const control = CONTROL_ESCAPES[letter];
    if (control !== undefined) return control;
    if (letter === "x" || letter === "u") return this.#hexCode(letter === "x" ? 2 : 4);
    if (letter === "0") return 0;
    if (/[A-Za-z0-9]/.test(letter)) throw this.#error(`unknown escape \\${letter}`);
    return letter.charCodeAt(0);
  }

  #hexCode(digits: number): number {
    const hex = this.#pattern.slice(this.#position, this.#position + digits);
    if (hex.length < digits || !/^[0-9a-f]+$/i.test(hex)) throw this.#error(`${digits} hexadecimal digits are missing`);
    this.#position += digits;
    return Number.parseInt(hex, 16);
  }

  #charClass(): CharTest {
    const negated = this.#take("^");
    const tests: CharTest[] = [];
    // A bracket that stands first is an ordinary character, as in Perl.
    for (let first = true; first || this.#peek() !== "]"; first = false) tests.push(this.#classItem());
    this.#position++;
    return negated ? not(this.#fold(either(...tests))) : either(...tests);
  }

  #classItem(): CharTest {
    const [named, invert, name = ""] = /^\[:(\^?)([a-z]+):\]/.exec(this.#pattern.slice(this.#position)) ?? [];
    if (named !== undefined) {
      const test = NAMED_CLASSES[name];
      if (test === undefined) throw this.#error(`unknown class ${named}`);
      this.#position += named.length;
      return invert === "^" ? not(test) : test;
    }
    const low = this.#classCharacter();
    if (typeof low !== "number") return low;
    const isRange = this.#peek() === "-" && this.#pattern[this.#position + 1] !== "]";
    if (!isRange) return equals(low);
    this.#position++;
    const high = this.#classCharacter();
    if (typeof high !== "number") return either(equals(low), equals(45), high);
    if (high < low) throw this.#error("a range has its ends in the wrong order");
    return between(low, high);
  }

  /** One character of a class by its code, or an escape that stands for several. */
  #classCharacter(): number | CharTest {
    const character = this.#next("missing ]");
    if (character !== "\\") return character.charCodeAt(0);
    const letter = this.#next("missing ]");
    if (letter === "b") return 8;
    return CLASS_ESCAPES[letter] ?? this.#escapedCode(letter);
  }

  #literal(code: number): PatternNode {
    return this.#char(equals(code));
  }

  #char(accepts: CharTest): PatternNode {
    return { type: "char", accepts: this.#fold(accepts) };
  }

  /** The test for both cases of a letter, where case does not matter. */
  #fold(accepts: CharTest): CharTest {
    if (!this.#ignoreCase) return accepts;
    return (code) => {
      const character = String.fromCharCode(code);
      return (
        accepts(code) ||
        accepts(character.toLowerCase().charCodeAt(0)) ||
        accepts(character.toUpperCase().charCodeAt(0))
      );
    };
  }

  #peek(): string | undefined {
    return this.#pattern[this.#position];
  }

  #take(character: string): boolean {
    if (this.#peek() !== character) return false;
    this.#position++;
    return true;
  }

  #next(problem = "it ends in the middle"): string {
    const character = this.#peek();
    if (character === undefined) throw this.#error(problem);
    this.#position++;
    return character;
  }

  #error(problem: string): OpPrereqError {
    return new OpPrereqError(
      `Invalid regular expression ${JSON.stringify(this.#pattern.slice(0, 80))}: ${problem}`,
      "wrong_input",
    );
  }
}

function equals(wanted: number): CharTest {
  return (code) => code === wanted;
}

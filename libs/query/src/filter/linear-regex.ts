/**
 * Regular expressions in time linear in the text.
 *
 * Patterns come from any user who may read, and are matched against every row on the master's only thread:
 * with backtracking, as JavaScript's RegExp does it, `(a+)+$` on one name of forty characters stops the
 * cluster. Here a set of states walks over the text once (Thompson, Regular Expression Search Algorithm, 1968),
 * so that the worst pattern costs its bounded size times the length of the text, and all texts of one query
 * together have a bound too. What cannot be matched so, backreferences and look-around, is refused.
 */
import { OpPrereqError } from "@gannet/errors";
import type { Assertion, CharTest, PatternNode } from "./regex-parser.ts";
import { isWordCode, parsePattern } from "./regex-parser.ts";

/** States that a pattern may need; repetition counts multiply them. */
const MAX_STATES = 2000;
/**
 * States that one compiled pattern may try in all, about a second's worth. Ten thousand names of thirty
 * characters leave a hundred for each character; ordinary patterns need fewer than five.
 */
const MAX_TRIALS = 30_000_000;

type State =
  | { readonly op: "char"; readonly accepts: CharTest; readonly next: number }
  | { readonly op: "split"; readonly next: number; other: number }
  | { readonly op: "assert"; readonly assertion: Assertion; readonly next: number }
  | { readonly op: "match" };

/**
 * A function that tells whether the pattern matches anywhere in a text. It throws OpPrereqError `wrong_input`
 * when the texts it is asked about take too much time together.
 * @throws OpPrereqError `wrong_input` when it is no regular expression, or one that is not supported
 */
export function compileRegex(pattern: string): (text: string) => boolean {
  const { node, tooLarge } = parsePattern(pattern);
  const states: State[] = [];
  const add = (state: State): number => {
    if (states.length >= MAX_STATES) throw tooLarge();
    return states.push(state) - 1;
  };
  const start = compileNode(node, add({ op: "match" }), states, add);
  const matcher = new Matcher(states, start);
  return (text) => matcher.matches(text);
}

/** Add the states that match a node and then go on at `next`; answers the first of them. */
function compileNode(node: PatternNode, next: number, states: State[], add: (state: State) => number): number {
  switch (node.type) {
    case "char":
      return add({ op: "char", accepts: node.accepts, next });
    case "assert":
      return add({ op: "assert", assertion: node.assertion, next });
    case "sequence":
      return node.parts.reduceRight((after, part) => compileNode(part, after, states, add), next);
    case "choice":
      return node.options
        .map((option) => compileNode(option, next, states, add))
        .reduceRight((other, option) => add({ op: "split", next: option, other }));
    case "repeat":
      return compileRepeat(node, next, states, add);
  }
}

function compileRepeat(
  { part, min, max }: Extract<PatternNode, { type: "repeat" }>,
  next: number,
  states: State[],
  add: (state: State) => number,
): number {
  let start = next;
  if (max === undefined) {
    const loop: State = { op: "split", next, other: next };
    start = add(loop);
    loop.other = compileNode(part, start, states, add);
  } else {
    for (let optional = max - min; optional > 0; optional--)
      start = add({ op: "split", next: compileNode(part, start, states, add), other: next });
  }
  for (let required = min; required > 0; required--) {
    const before = states.length;
    start = compileNode(part, start, states, add);
    // What needs no state, such as (){1000}, is no different when repeated, and nests without a bound.
    if (states.length === before) break;
  }
  return start;
}

const OP = { char: 0, split: 1, assert: 2, match: 3 } as const;
const ASCII = 128;

/** The states laid out in arrays of numbers, which took half the time of objects and closures, and the sets that walk. */
class Matcher {
  readonly #start: number;
  readonly #op: Uint8Array;
  readonly #next: Int32Array;
  /** The second way of a split. */
  readonly #other: Int32Array;
  /** For each character state, 128 flags: which ASCII codes it accepts. */
  readonly #ascii: Uint8Array;
  readonly #tests: readonly (CharTest | undefined)[];
  readonly #assertions: readonly (Assertion | undefined)[];
  /** For each state, the step in which it was last reached. */
  readonly #reached: Float64Array;
  /** Character states to try on the next character, and those after it. */
  #current: Int32Array;
  #following: Int32Array;
  readonly #open: Int32Array;
  #step = 0;
  #trials = 0;

  constructor(states: readonly State[], start: number) {
    const count = states.length;
    this.#start = start;
    this.#op = Uint8Array.from(states, ({ op }) => OP[op]);
    this.#next = Int32Array.from(states, (state) => (state.op === "match" ? 0 : state.next));
    this.#other = Int32Array.from(states, (state) => (state.op === "split" ? state.other : 0));
    this.#tests = states.map((state) => (state.op === "char" ? state.accepts : undefined));
    this.#assertions = states.map((state) => (state.op === "assert" ? state.assertion : undefined));
    this.#ascii = new Uint8Array(count * ASCII);
    for (const [index, test] of this.#tests.entries())
      for (let code = 0; code < ASCII; code++) this.#ascii[index * ASCII + code] = test?.(code) ? 1 : 0;
    this.#reached = new Float64Array(count);
    this.#current = new Int32Array(count);
    this.#following = new Int32Array(count);
    // Each state is opened once in a step, and puts two more on at most.
    this.#open = new Int32Array(count * 2 + 1);
  }

  matches(text: string): boolean {
    let count = 0;
    this.#step++;
    for (let position = 0; ; position++) {
      // A match may begin anywhere, so every position is a beginning too.
      count = this.#follow(this.#start, text, position, this.#current, count);
      if (count < 0) return true;
      if (position >= text.length) return false;
      count = this.#read(text, position, count);
      if (count < 0) return true;
      [this.#current, this.#following] = [this.#following, this.#current];
    }
  }

  /** Go over one character with the current states; answers how many follow, or -1 at the end of the pattern. */
  #read(text: string, position: number, count: number): number {
    const code = text.charCodeAt(position);
    let following = 0;
    this.#step++;
    this.#trials += count;
    if (this.#trials > MAX_TRIALS) throw tooSlow();
    for (let at = 0; at < count; at++) {
      const index = this.#current[at] ?? 0;
      const accepted = code < ASCII ? this.#ascii[index * ASCII + code] === 1 : this.#tests[index]?.(code);
      if (!accepted) continue;
      following = this.#follow(this.#next[index] ?? 0, text, position + 1, this.#following, following);
      if (following < 0) return -1;
    }
    return following;
  }

  /** Add the character states that are reached without reading; answers their number, or -1 at the end. */
  #follow(from: number, text: string, position: number, into: Int32Array, present: number): number {
    const open = this.#open;
    let count = present;
    let depth = 0;
    open[depth++] = from;
    while (depth > 0) {
      const index = open[--depth] ?? 0;
      if (this.#reached[index] === this.#step) continue;
      this.#reached[index] = this.#step;
      this.#trials++;
      const op = this.#op[index];
      if (op === OP.match) return -1;
      if (op === OP.char) into[count++] = index;
      else if (op === OP.split) {
        open[depth++] = this.#other[index] ?? 0;
        open[depth++] = this.#next[index] ?? 0;
      } else if (holds(this.#assertions[index], text, position)) open[depth++] = this.#next[index] ?? 0;
    }
    return count;
  }
}

function tooSlow(): OpPrereqError {
  return new OpPrereqError(
    "The regular expression takes too long on this many rows: make it simpler, or filter by another field first",
    "wrong_input",
  );
}

function holds(assertion: Assertion | undefined, text: string, position: number): boolean {
  switch (assertion) {
    case "text start":
      return position === 0;
    case "text end":
      return position === text.length;
    case "end":
      // As in Perl: also before a line break that ends the text.
      return position === text.length || (position === text.length - 1 && text[position] === "\n");
    case "line start":
      return position === 0 || text[position - 1] === "\n";
    case "line end":
      return position === text.length || text[position] === "\n";
    case "word boundary":
      return wordAt(text, position - 1) !== wordAt(text, position);
    case "no word boundary":
      return wordAt(text, position - 1) === wordAt(text, position);
    case undefined:
      return false;
  }
}

function wordAt(text: string, position: number): boolean {
  return position >= 0 && position < text.length && isWordCode(text.charCodeAt(position));
}

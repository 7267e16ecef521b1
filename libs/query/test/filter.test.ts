import { OpPrereqError } from "@gannet/errors";
import type { Filter } from "@gannet/query";
import { compileFilter, compileRegex, filterOfArguments, normal, parseFilterText, UNAVAILABLE } from "@gannet/query";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

/** A row of one text, one number, one list, one flag; undefined: the cell has no value. */
interface Row {
  readonly text: string | undefined;
  readonly number: number | undefined;
  readonly list: readonly string[] | undefined;
  readonly flag: boolean | undefined;
}
type FieldName = keyof Row;

const operandOf = (name: string) => ({
  cell: (row: Row) => (row[name as FieldName] === undefined ? UNAVAILABLE : normal(row[name as FieldName])),
});

/** The language's meaning said once more, as plainly as it can be. */
function naively(filter: Filter, row: Row): boolean {
  const [operator, ...args] = filter;
  if (operator === "|") return args.map((part) => naively(part as Filter, row)).includes(true);
  if (operator === "&") return !args.map((part) => naively(part as Filter, row)).includes(false);
  if (operator === "!") return !naively(args[0] as Filter, row);
  const value = row[args[0] as FieldName];
  if (value === undefined) return true;
  const wanted = args[1] as string | number;
  switch (operator) {
    case "?":
      return value === true;
    case "=":
    case "==":
      return value === wanted;
    case "!=":
      return value !== wanted;
    case "<":
      return (value as number) < (wanted as number);
    case ">":
      return (value as number) > (wanted as number);
    case "<=":
      return (value as number) <= (wanted as number);
    case ">=":
      return (value as number) >= (wanted as number);
    case "=[]":
      return (value as readonly string[]).includes(String(wanted));
    default:
      return new RegExp(String(wanted)).test(value as string);
  }
}

const word = fc.constantFrom("a", "b", "ab", "ba", "");
const row: fc.Arbitrary<Row> = fc.record({
  text: fc.option(word, { nil: undefined }),
  number: fc.option(fc.nat(3), { nil: undefined }),
  list: fc.option(fc.array(word, { maxLength: 2 }), { nil: undefined }),
  flag: fc.option(fc.boolean(), { nil: undefined }),
});
const comparison = fc.constantFrom("=", "==", "!=", "<", ">", "<=", ">=");
const condition: fc.Arbitrary<Filter> = fc.oneof(
  fc.tuple(comparison, fc.constant("text"), word),
  fc.tuple(comparison, fc.constant("number"), fc.nat(3)),
  fc.tuple(fc.constant("=~"), fc.constant("text"), fc.constantFrom("a", "^b", "a$", "^a?b?$")),
  fc.tuple(fc.constant("=[]"), fc.constant("list"), word),
  fc.constant(["?", "flag"]),
);
const { filter } = fc.letrec<{ filter: Filter }>((tie) => ({
  filter: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    condition,
    fc.tuple(fc.constant("!"), tie("filter")),
    fc.tuple(fc.constantFrom("|", "&"), fc.array(tie("filter"), { maxLength: 3 })).map(([op, parts]) => [op, ...parts]),
  ),
}));

describe("compileFilter", () => {
  it("means what the language means", () => {
    fc.assert(
      fc.property(filter, fc.array(row, { maxLength: 5 }), (given, rows) => {
        const passes = compileFilter(given, operandOf);
        for (const one of rows) expect(passes(one)).toBe(naively(given, one));
      }),
      { numRuns: 1000 },
    );
  });

  it("never fails in another way than by saying what is wrong", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), row, (given, one) => {
        try {
          compileFilter(given, operandOf)(one);
        } catch (error) {
          expect(error).toBeInstanceOf(OpPrereqError);
        }
      }),
    );
  });
});

describe("compileRegex", () => {
  const atom = fc.constantFrom(
    "a",
    "b",
    "c",
    ".",
    "[ab]",
    "[^a]",
    "\\d",
    "\\w",
    "\\.",
    "[a-c1]",
    "\\b",
    "(?:a|bc)",
    "(b)",
    "[\\d-]",
    "[\\]a]",
  );
  const quantifier = fc.constantFrom("", "", "*", "+", "?", "{2}", "{1,2}", "{1,}", "*?");
  const sequence = fc
    .array(fc.tuple(atom, quantifier), { minLength: 1, maxLength: 5 })
    .map((parts) => parts.map(([a, q]) => (a === "\\b" ? a : a + q)).join(""));
  const { pattern } = fc.letrec<{ pattern: string }>((tie) => ({
    pattern: fc.oneof(
      { maxDepth: 3 },
      sequence,
      fc.tuple(tie("pattern"), tie("pattern")).map(([a, b]) => `${a}|${b}`),
      fc.tuple(tie("pattern"), quantifier).map(([a, q]) => `(${a})${q}`),
      tie("pattern").map((a) => `^${a}`),
      tie("pattern").map((a) => `${a}$`),
    ),
  }));
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c", "1", ".", "-", " "), maxLength: 12 });

  it("matches what JavaScript's expressions match", () => {
    fc.assert(
      fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 5 }), (given, texts) => {
        const matches = compileRegex(given);
        const reference = new RegExp(given);
        for (const one of texts) expect([one, matches(one)]).toEqual([one, reference.test(one)]);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["(?i)^WEB", "web1", true],
    ["(?i)[^W]", "w", false],
    ["(?s)a.b", "a\nb", true],
    ["a.b", "a\nb", false],
    ["a$", "a\n", true],
    ["a\\z", "a\n", false],
    ["(?m)^b$", "a\nb\nc", true],
    ["[[:alpha:]]+[[:^alpha:]]", "ab1", true],
    ["[]]", "]", true],
    ["a{,2}", "a{,2}", true],
    ["\\x41\\u0042", "AB", true],
    ["(?P<name>x)y", "xy", true],
    ["", "", true],
    ["\\Aweb\\Z", "web", true],
  ])("%s on %j: %s", (given, one, expected) => {
    expect(compileRegex(given)(one)).toBe(expected);
  });

  it.each([
    "(",
    ")",
    "[",
    "[a",
    "*",
    "a**",
    "a++",
    "(?=a)",
    "(?<!a)",
    "\\1",
    "\\q",
    "[b-a]",
    "a{2,1}",
    "\\",
    "\\xZZ",
    "[[:nope:]]",
    "a".repeat(1001),
    "(a{1000}){1000}",
    "((((a{50}){50}){50}){50})",
    `${"(".repeat(200)}${")".repeat(200)}`,
  ])("refuses %s", (given) => {
    expect(() => compileRegex(given)).toThrow(/Invalid regular expression/);
  });

  it("takes no longer for patterns that make others stall", () => {
    const started = performance.now();
    for (const given of ["(a+)+$", "(a|aa)*c", "(a*)*b", "((((){9999}){9999}){9999}){9999}", "(x?){500}x{500}y"])
      expect(compileRegex(given)(`${"a".repeat(2000)}!`)).toBe(given.includes("9999"));
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it("gives up on what takes too long over all rows, but not on what anybody would ask", () => {
    const names = Array.from({ length: 10_000 }, (_, index) => `instance-${index}.site-${index % 7}.example.com`);
    const matches = compileRegex("(web|db|mail|instance)-\\d*9\\.site-[135]\\..*com$");
    expect(names.filter(matches)).toHaveLength(names.filter((name) => /9\.site-[135]/.test(name)).length);
    const slow = compileRegex("((.?){30}){20}!");
    expect(() => names.filter(slow)).toThrow(/takes too long/);
  });
});

describe("parseFilterText", () => {
  it.each<[string, Filter]>([
    ['name == "web1"', ["==", "name", "web1"]],
    ["name = 'it\\'s'", ["=", "name", "it's"]],
    ["be/vcpus >= 3", [">=", "be/vcpus", 3]],
    ["x<-2", ["<", "x", -2]],
    ["not master_candidate", ["!", ["?", "master_candidate"]]],
    ['name =* "web*.example.com"', ["=~", "name", "^web.*\\.example\\.com$"]],
    ["name !* 'a?'", ["!", ["=~", "name", "^a.$"]]],
    ["pnode.group =~ m/^rack/", ["=~", "pnode.group", "^rack"]],
    ["name =~ #a/b#is", ["=~", "name", "(?is)a/b"]],
    ["name !~ m|a\\|b\\d|", ["!", ["=~", "name", "a|b\\d"]]],
    ['"red" in tags', ["=[]", "tags", "red"]],
    ["5 not in opprio", ["!", ["=[]", "opprio", 5]]],
    [
      "(be/vcpus == 3 or be/vcpus == 6) and pnode.group =~ m/^rack/",
      ["&", ["|", ["==", "be/vcpus", 3], ["==", "be/vcpus", 6]], ["=~", "pnode.group", "^rack"]],
    ],
    ["a or b and not c or d", ["|", ["?", "a"], ["&", ["?", "b"], ["!", ["?", "c"]]], ["?", "d"]]],
    ["not (a and b)", ["!", ["&", ["?", "a"], ["?", "b"]]]],
    ["android", ["?", "android"]],
    ["notes == 1 and inst_cnt", ["&", ["==", "notes", 1], ["?", "inst_cnt"]]],
  ])("%s", (text, expected) => {
    expect(parseFilterText(text)).toEqual(expected);
  });

  it.each([
    "",
    "name ==",
    "name == web1",
    "and",
    "(a",
    "a)",
    "'x' in",
    "'x'",
    "a == 'x",
    "name =~ web",
    "name =~ m/x/q",
    "a b",
    "not",
    "a or",
    "(".repeat(100),
  ])("refuses %s", (text) => {
    expect(() => parseFilterText(text)).toThrow(OpPrereqError);
  });
});

describe("filterOfArguments", () => {
  const options = { nameField: "name" };

  it("tells names, patterns and filters apart", () => {
    expect(filterOfArguments([], options)).toBeNull();
    expect(filterOfArguments(["web1", "*.site?"], options)).toEqual([
      "|",
      ["==", "name", "web1"],
      ["=~", "name", "^.*\\.site.$"],
    ]);
    expect(filterOfArguments(["name == 'x'"], options)).toEqual(["==", "name", "x"]);
    expect(filterOfArguments(["drained"], { ...options, force: true })).toEqual(["?", "drained"]);
    expect(filterOfArguments(["12"], { nameField: "id", numeric: true })).toEqual(["|", ["==", "id", 12]]);
    expect(() => filterOfArguments(["x"], { nameField: "id", numeric: true })).toThrow(OpPrereqError);
  });
});

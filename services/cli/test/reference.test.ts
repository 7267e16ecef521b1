/** The documents that are made of the commands. */
import { describe, expect, test } from "vitest";
import { commandTree } from "../src/command-tree.ts";
import { manPageOf } from "../src/reference/man-page.ts";
import { markdownOf } from "../src/reference/markdown.ts";
import { referenceOf } from "../src/reference/reference.ts";

const COMMANDS = commandTree();
const reference = referenceOf(COMMANDS);
const markdown = markdownOf(reference);
const manual = manPageOf(reference, "1.2");

/** A text as a manual page has it. */
const roff = (text: string) => text.replaceAll("-", "\\-");

test("each command has its place, with all that it takes", () => {
  const entries = reference.nouns.flatMap(({ commands }) => commands);
  const byName = new Map(COMMANDS.map((spec) => [spec.words.join(" "), spec]));
  expect(entries.map(({ name }) => name).sort()).toEqual([...byName.keys()].sort());
  const groups = new Map(reference.groups.map(({ title, entries: shared }) => [title, shared]));
  for (const { name, args, options, groups: titles } of entries) {
    const shape = byName.get(name)?.shape();
    const shared = titles.flatMap((title) => groups.get(title) ?? []);
    const told = [...options, ...shared].map(([flags]) => flags).sort();
    const shown = (shape?.options ?? []).filter(({ hidden }) => hidden !== true).map(({ flags }) => flags);
    expect([name, told]).toEqual([name, shown.sort()]);
    expect(args).toHaveLength(shape?.args.length ?? 0);
    expect(markdown).toContain(`### gnt ${name}\n`);
    expect(manual).toContain(`.SS "${roff(`gnt ${name}`)}`);
  }
});

test("what many commands take is told once", () => {
  for (const text of [markdown, manual]) expect(text.split("How urgent the job is").length).toBe(2);
  const startup = reference.nouns.flatMap(({ commands }) => commands).find(({ name }) => name === "instance startup");
  expect(startup).toMatchObject({ otherVerbs: ["start"], groups: ["options of jobs"] });
});

describe("the manual page", () => {
  test("has no request but those that it means, whatever texts begin with", () => {
    const requests = manual.split("\n").filter((line) => /^[.']/.test(line));
    expect(requests.filter((line) => !/^\.(TH|SH|SS|TP)( |$)/.test(line))).toEqual([]);
    const [first] = reference.nouns;
    if (first === undefined) throw new Error("there are no commands");
    const odd = { ...reference, nouns: [{ ...first, doc: ".so /etc/passwd \\ and 'x" }] };
    expect(manPageOf(odd, "1.2")).toContain("\n\\&.so /etc/passwd \\e and 'x\n");
  });

  test("has the exit codes", () => {
    expect(manual).toMatch(/\.SH "EXIT STATUS"\n\.TP\n\\fB0\\fR\ndone\n/);
    expect(manual).toContain("\\fB130\\fR\nCtrl\\-C while waiting");
  });
});

test("a table's cell has no bar of its own", () => {
  const row = markdown.split("\n").find((line) => line.includes("--priority"));
  expect(row).toBe("| `--priority <low\\|normal\\|high>` | How urgent the job is. |");
});

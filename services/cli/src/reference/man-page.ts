/** The reference of commands as a manual page (man(7)). Pure. */
import type { CommandEntry, Entry, Reference } from "./reference.ts";

/** @param version of the program, for the page's foot */
export function manPageOf(reference: Reference, version: string): string {
  const { synopsis, doc, options, groups, nouns, environment, files, exitCodes } = reference;
  const lines = [
    `.TH GNT 1 "" "Gannet ${version}" "Gannet"`,
    ...section("NAME", [`gnt ${"\\-"} ${escaped(doc.replace(/\.$/, ""))}`]),
    ...section("SYNOPSIS", [escaped(synopsis)]),
    ...section("DESCRIPTION", [
      escaped("Commands are a noun and what is done: gnt instance list. gnt-instance is the same as gnt instance."),
    ]),
    ...section("OPTIONS", definitions(options)),
    ...groups.flatMap(({ title, entries }) => section(title.toUpperCase(), definitions(entries))),
    ...nouns.flatMap(({ noun, doc: about, commands }) => [
      ...section(`GNT ${noun.toUpperCase()}`, [escaped(about)]),
      ...commands.flatMap(commandLines),
    ]),
    ...section("ENVIRONMENT", definitions(environment)),
    ...section("FILES", definitions(files)),
    ...section("EXIT STATUS", definitions(exitCodes)),
  ];
  return `${lines.join("\n")}\n`;
}

function commandLines({ usage, otherVerbs, doc, args, options, groups }: CommandEntry): readonly string[] {
  const also = otherVerbs.length === 0 ? [] : [escaped(`Also called ${otherVerbs.join(", ")}.`)];
  const more = groups.length === 0 ? [] : [escaped(`Takes the ${groups.join(" and the ")}, too.`)];
  return [
    `.SS "${escaped(usage).replaceAll('"', "\\(dq")}"`,
    escaped(doc),
    ...also,
    ...more,
    ...definitions([...args, ...options]),
  ];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return [`.SH "${title}"`, ...lines];
}

function definitions(entries: readonly Entry[]): readonly string[] {
  return entries.flatMap(([term, doc]) => [".TP", `\\fB${escaped(term)}\\fR`, escaped(doc)]);
}

/** Text as it is: no line is a request, and a dash is the one that is typed. */
function escaped(text: string): string {
  const plain = text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("…", "...").replaceAll("\n", " ");
  return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}

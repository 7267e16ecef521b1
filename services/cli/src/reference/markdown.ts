/** The reference of commands as Markdown. Pure. */
import type { CommandEntry, Entry, Reference } from "./reference.ts";

export function markdownOf(reference: Reference): string {
  const { synopsis, doc, options, groups, nouns, environment, files, exitCodes } = reference;
  const blocks = [
    "# gnt",
    `<!-- Made from the declarations by "make generate": do not edit. -->`,
    `    ${synopsis}`,
    `${doc} \`gnt-NOUN\` is the same as \`gnt NOUN\`.`,
    table(options),
    ...groups.flatMap(({ title, entries }) => [`## ${capitalised(title)}`, table(entries)]),
    "## Exit codes",
    table(exitCodes),
    "## Environment",
    table(environment),
    "## Files",
    table(files),
    ...nouns.flatMap(({ noun, doc: about, commands }) => [`## gnt ${noun}`, about, ...commands.flatMap(commandBlocks)]),
  ];
  return `${blocks.filter((block) => block !== "").join("\n\n")}\n`;
}

function commandBlocks({ name, usage, otherVerbs, doc, args, options, groups }: CommandEntry): readonly string[] {
  const also = otherVerbs.length === 0 ? "" : ` Also called ${otherVerbs.map((verb) => `\`${verb}\``).join(", ")}.`;
  const more = groups.map((title) => `[${title}](#${title.replaceAll(" ", "-")})`);
  return [
    `### gnt ${name}`,
    `    ${usage}`,
    `${doc}${also}${more.length === 0 ? "" : ` Takes the ${more.join(" and the ")}, too.`}`,
    table([...args, ...options]),
  ];
}

function table(entries: readonly Entry[]): string {
  if (entries.length === 0) return "";
  const rows = entries.map(([term, doc]) => `| \`${cell(term)}\` | ${cell(doc)} |`);
  return ["| | |", "|---|---|", ...rows].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

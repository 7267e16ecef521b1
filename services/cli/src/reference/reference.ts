/** What there is to say of every command, for the documents that are made of it. Pure. */
import { type CommandSpec, nameOf } from "../command.ts";
import { TABLE_OPTIONS } from "../commands/list-command.ts";
import { EXIT_CODES } from "../exit-codes.ts";
import { NOUNS } from "../nouns.ts";
import { JOB_OPTIONS } from "../options/common-options.ts";
import type { OptionSpec } from "../options/option-spec.ts";
import { argumentText, rootProgram } from "../program.ts";

/** An option, an argument, a variable, a file: how it is written, and what it is. */
export type Entry = readonly [term: string, doc: string];

/** Options that many commands have, told of once. */
export interface OptionGroup {
  /** "options of jobs" */
  readonly title: string;
  readonly entries: readonly Entry[];
}

export interface CommandEntry {
  /** `gnt instance add [options] <instance-name>` */
  readonly usage: string;
  /** `instance add` */
  readonly name: string;
  /** Other last words for the same. */
  readonly otherVerbs: readonly string[];
  readonly doc: string;
  readonly args: readonly Entry[];
  /** Its own. */
  readonly options: readonly Entry[];
  /** Titles of the groups that it has beside them. */
  readonly groups: readonly string[];
}

export interface Reference {
  readonly synopsis: string;
  readonly doc: string;
  readonly options: readonly Entry[];
  readonly groups: readonly OptionGroup[];
  readonly nouns: readonly {
    readonly noun: string;
    readonly doc: string;
    readonly commands: readonly CommandEntry[];
  }[];
  readonly environment: readonly Entry[];
  readonly files: readonly Entry[];
  readonly exitCodes: readonly Entry[];
}

const GROUPS = [
  { title: "options of jobs", options: JOB_OPTIONS },
  { title: "options of lists", options: TABLE_OPTIONS },
] as const;

const ENVIRONMENT: readonly Entry[] = [
  ["GNT_CLUSTER", "The cluster, as --cluster."],
  ["GNT_CA", "A file with the cluster's authority, for this time."],
  ["GNT_CREDENTIALS", "A file with a user, a blank and the password, which nobody but its owner may read."],
  ["GNT_TOKEN_FILE", "A file with an API token, which nobody but its owner may read."],
  ["GNT_DEBUG", "Set to anything: failures are told with where in the program they come from."],
];

const FILES: readonly Entry[] = [
  [
    "~/.config/gannet/gnt.json",
    'Clusters by name: {"default": NAME, "clusters": {NAME: {"url", "ca", "credentials", "token"}}}.',
  ],
  ["~/.config/gannet/credentials", "A user, a blank and the password, where nothing else says who asks."],
];

/** @param commands see command-tree.ts */
export function referenceOf(commands: readonly CommandSpec[]): Reference {
  const program = rootProgram({ write: { out: () => {}, note: () => {} } });
  const shown = commands.filter(({ hidden }) => hidden !== true);
  return {
    synopsis: "gnt [options] <noun> <command> [options] [arguments]",
    doc: program.description(),
    options: program.options.map(({ flags, description }): Entry => [flags, description]),
    groups: GROUPS.map(({ title, options }) => ({ title, entries: entriesOf(options) })),
    nouns: Object.entries(NOUNS).map(([noun, doc]) => ({
      noun,
      doc,
      commands: shown.filter(({ words: [first] }) => first === noun).map(commandEntry),
    })),
    environment: ENVIRONMENT,
    files: FILES,
    exitCodes: EXIT_CODES.map(([code, meaning]): Entry => [String(code), meaning]),
  };
}

function commandEntry(spec: CommandSpec): CommandEntry {
  const { args, options } = spec.shape();
  const groups = GROUPS.filter((group) => group.options.every((option) => options.includes(option)));
  const shared = new Set(groups.flatMap((group): readonly OptionSpec[] => group.options));
  const name = nameOf(spec);
  return {
    usage: ["gnt", name, ...(options.length > 0 ? ["[options]"] : []), ...args.map(argumentText)].join(" "),
    name,
    otherVerbs: spec.otherVerbs ?? [],
    doc: spec.doc,
    args: args.map((argument): Entry => [argumentText(argument), argument.doc]),
    options: entriesOf(options.filter((option) => !shared.has(option))),
    groups: groups.map(({ title }) => title),
  };
}

function entriesOf(options: readonly OptionSpec[]): readonly Entry[] {
  return options
    .filter(({ hidden }) => hidden !== true)
    .map(({ flags, doc, words = [] }): Entry => {
      const isTold = words.every((word) => flags.includes(String(word)));
      return [flags, isTold ? doc : `${doc} One of ${words.join(", ")}.`.trim()];
    });
}

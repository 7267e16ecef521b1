/** The commander program of the command tree. Options are made for the command that is called only. */
import { OpPrereqError } from "@gannet/errors";
import { Command, Option } from "commander";
import { type CommandSpec, type GivenArguments, nameOf, type Workplace } from "./command.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { BELOW, NOUNS } from "./nouns.ts";
import type { ArgumentSpec, Gathered, OptionSpec } from "./options/option-spec.ts";

/** What has been read, ready to be run. */
export interface Call {
  readonly spec: CommandSpec;
  readonly args: GivenArguments;
  readonly gathered: Gathered;
}

/** The options of the program itself. */
export interface ProgramOptions {
  readonly cluster?: string;
  readonly ca?: string;
  readonly credentials?: string;
}

export interface ProgramParts {
  readonly commands: readonly CommandSpec[];
  /** The words that the command line begins with, as far as they are no options. */
  readonly words: readonly string[];
  readonly write: Pick<Workplace["terminal"], "out" | "note">;
  readonly called: (call: Call) => void;
}

/** The program, without commands below its nouns: enough for its help. */
export function rootProgram({ write }: Pick<ProgramParts, "write">): Command {
  const program = new Command("gnt")
    .description("Work with a Gannet cluster over its remote API.")
    .option("--cluster <url|name>", "the cluster: https://HOST:PORT, or a name of gnt.json (GNT_CLUSTER)")
    .option("--ca <file>", "the cluster's authority; is remembered (GNT_CA)")
    .option(
      "--credentials <file>",
      'a file with "user password", mode 0600 (GNT_CREDENTIALS; GNT_TOKEN_FILE: a token)',
    );
  program.option("-V, --version", "print the version of this program");
  quiet(program, write);
  return program.addHelpText(
    "after",
    `\nExit codes:\n${EXIT_CODES.map(([code, meaning]) => `  ${String(code).padEnd(4)} ${meaning}`).join("\n")}`,
  );
}

/** Names of nouns with what they are for, as commands without anything below them. */
export function addNouns(program: Command): void {
  for (const [noun, doc] of Object.entries(NOUNS)) program.command(noun).description(doc);
  program
    .command("completion")
    .argument("<shell>", "bash or zsh")
    .description("Print a script that completes commands.");
  program.command("manual").description("Print the manual page: gnt manual | man -l -");
}

export function fullProgram({ commands, words, write, called }: ProgramParts): Command {
  const program = rootProgram({ write });
  const made = new Map<string, Command>([["", program]]);
  for (const spec of commands) {
    const parent = parentOf(made, spec.words.slice(0, -1), write);
    const verbs = [spec.words.at(-1) ?? "", ...(spec.otherVerbs ?? [])];
    const [verb = "", ...others] = verbs;
    const command = parent
      .command(verb, { hidden: spec.hidden === true })
      .description(spec.doc)
      .aliases(others);
    quiet(command, write);
    const path = spec.words.slice(0, -1);
    const isCalled = path.every((word, index) => words[index] === word) && verbs.includes(words[path.length] ?? "");
    if (isCalled) complete(command, spec, called);
  }
  return program;
}

function parentOf(made: Map<string, Command>, words: readonly string[], write: ProgramParts["write"]): Command {
  const name = words.join(" ");
  const known = made.get(name);
  if (known !== undefined) return known;
  const last = words.at(-1) ?? "";
  const parent = parentOf(made, words.slice(0, -1), write);
  const command = parent.command(last).description(NOUNS[name] ?? BELOW[name] ?? "");
  quiet(command, write);
  made.set(name, command);
  return command;
}

/** Errors and help go where the program writes, and end in an error that says so. */
function quiet(command: Command, { out, note }: ProgramParts["write"]): void {
  command
    .exitOverride()
    .configureOutput({ writeOut: (text) => out(text.trimEnd()), writeErr: (text) => note(text.trimEnd()) })
    .configureHelp({ sortOptions: false, sortSubcommands: true })
    .showSuggestionAfterError()
    .helpCommand(false);
}

function complete(command: Command, spec: CommandSpec, called: ProgramParts["called"]): void {
  const { args, options } = spec.shape();
  const gathered: Gathered = { params: {}, control: {} };
  for (const argument of args) command.argument(argumentText(argument), argument.doc);
  for (const option of options) addOption(command, option, gathered);
  command.action((...given: readonly unknown[]) => {
    called({ spec, args: given.slice(0, args.length) as GivenArguments, gathered });
  });
}

/** `<node-name>`, `[names...]` */
export function argumentText({ name, required, variadic }: Omit<ArgumentSpec, "doc">): string {
  const inner = `${name.replaceAll("_", "-")}${variadic ? "..." : ""}`;
  return required ? `<${inner}>` : `[${inner}]`;
}

function addOption(command: Command, spec: OptionSpec, gathered: Gathered): void {
  const option = new Option(spec.flags, spec.doc);
  if (spec.hidden === true) option.hideHelp();
  command.addOption(option);
  command.on(`option:${option.name()}`, (value: string | null | undefined) => spec.apply(gathered, value ?? ""));
}

/** Options of the program itself that are followed by a value. */
const VALUE_OPTIONS = ["--cluster", "--ca", "--credentials"];

/** The words of an argv; values of options behind the command are among them. */
export function wordsOf(argv: readonly string[]): readonly string[] {
  const words: string[] = [];
  for (let index = 0; index < argv.length; index++) {
    const word = argv[index] ?? "";
    if (!word.startsWith("-")) words.push(word);
    else if (VALUE_OPTIONS.includes(word)) index++;
  }
  return words;
}

/**
 * What stands behind the words of a command that hands everything over to another program, options of this one among
 * them; undefined for any other command.
 */
export function handedOver(
  argv: readonly string[],
  commands: readonly CommandSpec[],
): { readonly spec: CommandSpec; readonly args: readonly string[] } | undefined {
  const spec = commands.find(
    ({ passThrough, words }) => passThrough === true && words.every((word, index) => argv[index] === word),
  );
  return spec === undefined ? undefined : { spec, args: argv.slice(spec.words.length) };
}

/** A command line that names no command. */
export function unknownCommand(words: readonly string[], commands: readonly CommandSpec[]): OpPrereqError {
  const [noun = ""] = words;
  const below = commands
    .filter(({ words: [first] }) => first === noun)
    .map((spec) => nameOf(spec).slice(noun.length + 1));
  const hint = below.length === 0 ? "gnt --help" : `gnt ${noun} --help`;
  return new OpPrereqError(`There is no command gnt ${words.slice(0, 2).join(" ")}: see ${hint}`, "wrong_input");
}

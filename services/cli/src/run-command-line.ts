/** From a command line to an exit code. What only some commands need is imported where they need it. */

import { OpPrereqError, Unavailable } from "@gannet/errors";
import type { RapiClient } from "@gannet/rapi-client";
import { CommanderError } from "commander";
import type { CommandSpec, Workplace } from "./command.ts";
import type { ClusterConnection } from "./connection/cluster-choice.ts";
import { EXIT, exitCodeFor } from "./exit-codes.ts";
import { NOUNS } from "./nouns.ts";
import {
  addNouns,
  type Call,
  fullProgram,
  handedOver,
  type ProgramOptions,
  rootProgram,
  unknownCommand,
  wordsOf,
} from "./program.ts";
import type { Terminal } from "./terminal.ts";

export interface CommandLine {
  /** Without the program's name. */
  readonly argv: readonly string[];
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Run a command line; what it fails with is noted. @returns the exit code */
export async function runToExitCode(line: CommandLine): Promise<number> {
  try {
    return await runCommandLine(line);
  } catch (error) {
    line.terminal.note(`gnt: ${error instanceof Error ? error.message : String(error)}`);
    if (line.env.GNT_DEBUG !== undefined && error instanceof Error) line.terminal.note(error.stack ?? "");
    return exitCodeFor(error);
  }
}

/** Words that tell of the program, and ask no cluster; `complete` is for completion's scripts. */
const ABOUT_ITSELF: ReadonlySet<string> = new Set(["completion", "complete", "manual"]);

/** @throws what the command failed with: see exit-codes.ts */
async function runCommandLine(line: CommandLine): Promise<number> {
  const { argv, terminal, env, signal } = line;
  const words = wordsOf(argv);
  const [noun] = words;
  if (noun === undefined || (noun === "completion" && words[1] === undefined)) return help(line);
  if (!Object.hasOwn(NOUNS, noun) && !ABOUT_ITSELF.has(noun)) throw unknownCommand(words, []);

  const { commandTree } = await import("./command-tree.ts");
  const commands = commandTree();
  if (noun === "completion") {
    const { completionScript } = await import("./completion.ts");
    terminal.out(completionScript(words[1] ?? ""));
    return EXIT.done;
  }
  if (noun === "manual") {
    terminal.out((await manual(commands)).trimEnd());
    return EXIT.done;
  }
  const passedOn = handedOver(argv, commands);
  if (passedOn !== undefined) {
    const nowhere = () => Promise.reject(new OpPrereqError("This command asks no cluster", "wrong_input"));
    const workplace: Workplace = { terminal, env, signal, client: nowhere, clusterUrl: nowhere };
    return await passedOn.spec.run(workplace, [passedOn.args], { params: {}, control: {} });
  }
  const calls: Call[] = [];
  const program = fullProgram({ commands, words, write: terminal, called: (call) => calls.push(call) });
  // A shell that completes words cannot be asked for a password.
  const asker = noun === "complete" ? { ...terminal, isInteractive: false } : terminal;
  await using connection = new Connection(() => program.opts<ProgramOptions>(), env, asker);
  if (noun === "complete") {
    const { candidates } = await import("./completion.ts");
    for (const word of await candidates(argv.slice(1), commands, () => connection.client())) terminal.out(word);
    return EXIT.done;
  }
  const code = parsed(() => program.parse(argv, { from: "user" }));
  if (code !== undefined) return code;
  const [call] = calls;
  if (call === undefined) throw unknownCommand(words, commands);
  const workplace: Workplace = {
    terminal,
    env,
    signal,
    client: () => connection.client(),
    clusterUrl: () => connection.url(),
  };
  try {
    return await call.spec.run(workplace, call.args, call.gathered);
  } catch (failure) {
    const error = await connection.explained(failure);
    const { NotTrusted } = await import("@gannet/rapi-client");
    if (!(error instanceof NotTrusted)) throw error;
    throw new Unavailable(`${error.message}. Name the cluster's own authority: --ca FILE`, { cause: error });
  }
}

async function manual(commands: readonly CommandSpec[]): Promise<string> {
  const { GANNET_VERSION } = await import("@gannet/objects");
  const { manPageOf } = await import("./reference/man-page.ts");
  const { referenceOf } = await import("./reference/reference.ts");
  return manPageOf(referenceOf(commands), GANNET_VERSION);
}

async function help({ argv, terminal }: CommandLine): Promise<number> {
  const program = rootProgram({ write: terminal });
  addNouns(program);
  if (argv.includes("--version") || argv.includes("-V")) {
    const { GANNET_VERSION } = await import("@gannet/objects");
    terminal.out(`gnt ${GANNET_VERSION}`);
    return EXIT.done;
  }
  if (argv.length === 0) {
    terminal.note(program.helpInformation());
    return EXIT.usage;
  }
  return parsed(() => program.parse([...argv], { from: "user" })) ?? EXIT.usage;
}

/** The exit code where commander has said all there is to say: help, or what is wrong. */
function parsed(parse: () => unknown): number | undefined {
  try {
    parse();
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
}

/** The client, made when a command first asks for it. */
class Connection implements AsyncDisposable {
  readonly #options: () => ProgramOptions;
  readonly #env: NodeJS.ProcessEnv;
  readonly #terminal: Terminal;
  #made: Promise<ClusterConnection> | undefined;

  constructor(options: () => ProgramOptions, env: NodeJS.ProcessEnv, terminal: Terminal) {
    this.#options = options;
    this.#env = env;
    this.#terminal = terminal;
  }

  async client(): Promise<RapiClient> {
    return (await this.#connection()).client;
  }

  async url(): Promise<string> {
    return (await this.#connection()).url;
  }

  /** A failure as it is to be told. */
  async explained(failure: unknown): Promise<unknown> {
    const made = await this.#made?.catch(() => undefined);
    return made === undefined ? failure : made.explained(failure);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const made = await this.#made?.catch(() => undefined);
    made?.client[Symbol.dispose]();
  }

  #connection(): Promise<ClusterConnection> {
    this.#made ??= import("./connection/cluster-choice.ts").then(({ connect }) =>
      connect(this.#options(), this.#env, this.#terminal),
    );
    return this.#made;
  }
}

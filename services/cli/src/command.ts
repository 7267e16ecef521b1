/** What a command of the program is: its words, what it takes, and what it does. */
import type { RapiClient } from "@gannet/rapi-client";
import type { ArgumentSpec, Gathered, OptionSpec } from "./options/option-spec.ts";
import type { Terminal } from "./terminal.ts";

/** What a command works with. */
export interface Workplace {
  readonly terminal: Terminal;
  readonly env: NodeJS.ProcessEnv;
  /** Connects at the first use. @throws OpPrereqError where it is not said to what or as whom */
  readonly client: () => Promise<RapiClient>;
  /** Where the cluster is that the client asks. */
  readonly clusterUrl: () => Promise<string>;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
}

export type GivenArguments = readonly (string | readonly string[] | undefined)[];

export interface CommandShape {
  readonly args: readonly ArgumentSpec[];
  readonly options: readonly OptionSpec[];
}

export interface CommandSpec {
  /** `["instance", "add"]` */
  readonly words: readonly string[];
  /** One sentence. */
  readonly doc: string;
  /** Other last words for the same. */
  readonly otherVerbs?: readonly string[];
  /** Not in lists of commands. */
  readonly hidden?: true;
  /** Everything behind the words belongs to another program. */
  readonly passThrough?: true;
  /** Worked out only for the command that is called, and for its help. */
  readonly shape: () => CommandShape;
  /** @returns the exit code */
  readonly run: (workplace: Workplace, args: GivenArguments, gathered: Gathered) => Promise<number>;
}

/** `instance add` */
export function nameOf({ words }: Pick<CommandSpec, "words">): string {
  return words.join(" ");
}

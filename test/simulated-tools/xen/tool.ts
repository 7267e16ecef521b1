/** What the commands of the simulated `xl` have in common. */
import type { ToolAnswer } from "../faults.ts";
import type { SimulatedDomain, XenState } from "./state.ts";

/** The end of a command with its complaint. */
export class XlFailure extends Error {
  readonly exitCode: number;

  constructor(stderr: string, exitCode = 1) {
    super(stderr);
    this.exitCode = exitCode;
  }
}

export interface Call {
  readonly nodeFolder: string;
  readonly flags: ReadonlySet<string>;
  readonly options: ReadonlyMap<string, string>;
  readonly names: readonly string[];
}

export type XlCommand = (call: Call) => Promise<ToolAnswer> | ToolAnswer;

/**
 * As getopt reads them; `withValue` are the options that take a value.
 * @throws XlFailure for an option that is none
 */
export function readCall(
  nodeFolder: string,
  command: string,
  args: readonly string[],
  known: { readonly flags: string; readonly withValue: string },
): Call {
  const flags = new Set<string>();
  const options = new Map<string, string>();
  const names: string[] = [];
  for (let index = 0; index < args.length; index += 1) {
    const arg = args[index] ?? "";
    const letter = arg.slice(1);
    if (!arg.startsWith("-") || arg === "-") names.push(arg);
    else if (letter.length === 1 && known.flags.includes(letter)) flags.add(letter);
    else if (letter.length === 1 && known.withValue.includes(letter)) {
      index += 1;
      options.set(letter, args[index] ?? "");
    } else throw new XlFailure(`xl: unknown option '${arg}' of ${command}`, 2);
  }
  return { nodeFolder, flags, options, names };
}

/** By name, or by number: a name of digits alone is taken for a number. */
export function domainNamed(state: XenState, name: string | undefined): SimulatedDomain {
  const domain = state.domains.find((each) =>
    /^\d+$/.test(name ?? "") ? String(each.id) === name : each.name === name,
  );
  if (domain === undefined) throw new XlFailure(`${name} is an invalid domain identifier (rc=-6)`);
  return domain;
}

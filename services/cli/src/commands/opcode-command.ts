/** The command of an opcode: its arguments and options are its parameters, and it submits a job. */
import { OpPrereqError } from "@gannet/errors";
import {
  type CliCommand,
  check,
  commonParams,
  type JsonSchema,
  jsonSchemaOf,
  type OpcodeDeclaration,
  type RawParams,
} from "@gannet/opcodes";
import type { CommandShape, CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { confirm, mayAsk } from "../confirmation.ts";
import { runJobs } from "../jobs/run-jobs.ts";
import { JOB_OPTIONS, YES } from "../options/common-options.ts";
import { compositeOptions, finishParams } from "../options/composite-options.ts";
import { argumentParams, derivedArguments, derivedOptions, type ParameterSchemas } from "../options/derived-options.ts";
import type { Gathered } from "../options/option-spec.ts";
import { COMMAND_DEFAULTS, OTHER_VERBS } from "../options/spellings.ts";
import { isForMany, manyOptions, namesMeant } from "./many-instances.ts";

/** @param cli the opcode's own command, or another that stands for a part of what the opcode does */
export function opcodeCommand(opcode: OpcodeDeclaration, cli: CliCommand): CommandSpec {
  const name = cli.words;
  return {
    words: name.split(" "),
    doc: cli.doc ?? opcode.doc,
    ...(OTHER_VERBS[name] && { otherVerbs: OTHER_VERBS[name] }),
    shape: () => shapeOf(opcode, cli),
    run: async (workplace, args, gathered) => {
      const all = await jobsMeant(workplace, opcode, cli, args, gathered);
      await confirm(name, objectsOf(cli, all), gathered, workplace.terminal);
      return await runJobs(workplace, opcode, all, gathered.control);
    },
  };
}

function schemasOf(opcode: OpcodeDeclaration): ParameterSchemas {
  const { properties = {}, required = [] } = jsonSchemaOf(opcode);
  return { properties: properties as Readonly<Record<string, JsonSchema>>, required };
}

function shapeOf(opcode: OpcodeDeclaration, cli: CliCommand): CommandShape {
  const schemas = schemasOf(opcode);
  const name = cli.words;
  const taken = new Set([...cli.args, ...Object.keys(cli.fixed ?? {}), ...Object.keys(commonParams)]);
  const args = derivedArguments(cli.args, schemas);
  const many = isForMany(name);
  return {
    args: many ? args.map((arg) => ({ ...arg, required: false, variadic: true })) : args,
    options: [
      ...compositeOptions(name),
      ...derivedOptions(name, schemas, taken),
      ...(many ? manyOptions(name) : []),
      ...(mayAsk(name) ? [YES] : []),
      ...(many ? [FORCE_MANY] : []),
      // Whoever is used to `-f` for "do not ask" finds it where the opcode has no `force` of its own.
      ...(mayAsk(name) && !Object.hasOwn(schemas.properties, "force") ? [FORCE] : []),
      ...JOB_OPTIONS,
    ],
  };
}

const FORCE = { ...YES, flags: "-f, --force" };
const FORCE_MANY = { ...YES, flags: "--force-multi", hidden: true } as const;

/** The parameters of each job that a command line asks for. @throws OpPrereqError wrong_input */
async function jobsMeant(
  workplace: Workplace,
  opcode: OpcodeDeclaration,
  cli: CliCommand,
  args: GivenArguments,
  gathered: Gathered,
): Promise<readonly RawParams[]> {
  if (!isForMany(cli.words)) return [paramsOf(opcode, cli, args, gathered)];
  const [given = []] = args;
  const names = await namesMeant(workplace, typeof given === "string" ? [given] : given, gathered.control);
  return names.map((name) => paramsOf(opcode, cli, [name], gathered));
}

/**
 * The opcode's parameters as a command line gives them.
 * @throws OpPrereqError wrong_input where the opcode does not take them so
 */
export function paramsOf(
  opcode: OpcodeDeclaration,
  cli: CliCommand,
  args: GivenArguments,
  gathered: Gathered,
): RawParams {
  finishParams(cli.words, gathered);
  const params = {
    ...COMMAND_DEFAULTS[cli.words],
    ...gathered.params,
    ...cli.fixed,
    ...argumentParams(cli.args, schemasOf(opcode), args),
  };
  const checked = check(opcode.schema, params, `gnt ${cli.words}`);
  if ("fault" in checked) throw new OpPrereqError(checked.fault, "wrong_input");
  return params;
}

/** What the jobs are done to, for the question. */
function objectsOf({ args }: CliCommand, all: readonly RawParams[]): readonly string[] {
  const named = args.filter((arg) => arg !== "command");
  return all.flatMap((params) => {
    const value = params[named[0] ?? ""];
    return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)];
  });
}

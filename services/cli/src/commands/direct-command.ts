/** The commands of methods that answer at once: arguments and options are the parts of path, query and body. */
import { HttpError, OpPrereqError } from "@gannet/errors";
import {
  type CliCommand,
  check,
  type DirectMethod,
  encodeTarget,
  type JsonSchema,
  type QueryArgument,
  queryArgumentDoc,
  type RawParams,
} from "@gannet/opcodes";
import { z } from "zod";
import type { CommandShape, CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { confirm, mayAsk } from "../confirmation.ts";
import { EXIT } from "../exit-codes.ts";
import { JSON_OUTPUT, YES } from "../options/common-options.ts";
import { argumentParams, derivedArguments, derivedOptions, type ParameterSchemas } from "../options/derived-options.ts";
import type { Gathered } from "../options/option-spec.ts";
import { OTHER_VERBS } from "../options/spellings.ts";
import { printValue } from "../output/print-result.ts";
import { PRESENTED } from "./presented-answers.ts";

export function directCommand(method: DirectMethod, cli: CliCommand): CommandSpec {
  const name = cli.words;
  return {
    words: name.split(" "),
    doc: cli.doc ?? method.doc,
    ...(OTHER_VERBS[name] && { otherVerbs: OTHER_VERBS[name] }),
    shape: () => shapeOf(method, cli),
    run: async (workplace, args, gathered) => {
      const requests = requestsOf(method, cli, args, gathered);
      await confirm(name, objectsOf(cli, args), gathered, workplace.terminal);
      const codes: number[] = [];
      for (const request of requests) codes.push(await ask(workplace, name, method, request, gathered));
      return Math.max(EXIT.done, ...codes);
    },
  };
}

/** A name in the path that is the only argument may be given several times. */
function mayRepeat(method: DirectMethod, { args }: CliCommand): boolean {
  return args.length === 1 && pathNames(method.path).includes(args[0] ?? "");
}

function pathNames(path: string): readonly string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name = ""]) => name);
}

function schemasOf({ path, query = {}, body }: DirectMethod): ParameterSchemas {
  const bodySchema: z.core.JSONSchema.BaseSchema = body === undefined ? {} : z.toJSONSchema(body, { io: "input" });
  const inPath = pathNames(path);
  const inQuery = Object.entries(query).filter(([name, { legacy }]) => !legacy && name !== "lock" && name !== "bulk");
  return {
    properties: {
      ...Object.fromEntries(inPath.map((name) => [name, { type: "string" }])),
      ...Object.fromEntries(
        inQuery.map(([name, argument]) => [
          name,
          { ...querySchema(argument), description: queryArgumentDoc(name) ?? "" },
        ]),
      ),
      ...(bodySchema.properties as Readonly<Record<string, JsonSchema>> | undefined),
    },
    required: [
      ...inPath,
      ...inQuery.flatMap(([name, { required }]) => (required ? [name] : [])),
      ...(bodySchema.required ?? []),
    ],
  };
}

function querySchema({ type, values }: QueryArgument): JsonSchema {
  if (values !== undefined) return { type: "string", enum: Object.keys(values) };
  if (type === "flag") return { type: "boolean", default: false };
  if (type === "count") return { type: "integer" };
  return type === "string" ? { type: "string" } : { type: "array", items: { type: "string" } };
}

function shapeOf(method: DirectMethod, cli: CliCommand): CommandShape {
  const schemas = schemasOf(method);
  const taken = new Set([...cli.args, ...pathNames(method.path), ...Object.keys(cli.fixed ?? {})]);
  const args = derivedArguments(cli.args, schemas);
  return {
    args: mayRepeat(method, cli) ? args.map((arg) => ({ ...arg, variadic: true })) : args,
    options: [
      ...derivedOptions(cli.words, schemas, taken),
      ...(mayAsk(cli.words) ? [YES, { ...YES, flags: "-f, --force" }] : []),
      JSON_OUTPUT,
    ],
  };
}

/** What a request is given: parts of the path by name, `query` and `body`. */
export type DirectInputs = RawParams & { readonly query: RawParams; readonly body?: RawParams };

/** The requests that a command line asks for. @throws OpPrereqError wrong_input */
export function requestsOf(
  method: DirectMethod,
  cli: CliCommand,
  args: GivenArguments,
  { params }: Gathered,
): readonly DirectInputs[] {
  const [first] = args;
  const each: readonly GivenArguments[] =
    mayRepeat(method, cli) && Array.isArray(first) ? first.map((name: string) => [name]) : [args];
  const schemas = schemasOf(method);
  return each.map((given) => {
    const all = { ...params, ...cli.fixed, ...argumentParams(cli.args, schemas, given) };
    const request = divided(method, all);
    // Refuses what a path cannot hold, as everything else, before anything is asked.
    encodeTarget(method.path, request, request.query);
    if (method.body === undefined) return request;
    const checked = check(method.body, request.body, `gnt ${cli.words}`);
    if ("fault" in checked) throw new OpPrereqError(checked.fault, "wrong_input");
    return request;
  });
}

function divided(method: DirectMethod, all: RawParams): DirectInputs {
  const inPath = new Set(pathNames(method.path));
  const queryNames = new Set(Object.keys(method.query ?? {}));
  const pick = (wanted: (name: string) => boolean) =>
    Object.fromEntries(Object.entries(all).filter(([name]) => wanted(name)));
  const body = pick((name) => !inPath.has(name) && !queryNames.has(name));
  return {
    ...pick((name) => inPath.has(name)),
    query: pick((name) => queryNames.has(name)),
    ...(method.body !== undefined && { body }),
  };
}

async function ask(
  workplace: Workplace,
  name: string,
  method: DirectMethod,
  request: DirectInputs,
  { control }: Gathered,
): Promise<number> {
  const { client, terminal, signal } = workplace;
  const answer = await (await client())
    .call(method.method, method.path, request, { signal })
    .catch((error: unknown) => notFoundBy(name, request, error));
  const verdict = verdictOf(answer);
  if (control.json === true) terminal.out(JSON.stringify(answer, undefined, 2));
  else if (Object.hasOwn(PRESENTED, name)) await PRESENTED[name]?.(workplace, answer);
  else if (verdict === undefined) printValue(terminal, answer);
  else if (verdict.text !== "") terminal.note(verdict.text);
  return verdict?.done === false ? EXIT.failed : EXIT.done;
}

/** Of a request that names one object it is clear what was not found. @throws the error */
function notFoundBy(name: string, { query: _query, body: _body, ...inPath }: DirectInputs, error: unknown): never {
  if (!(error instanceof HttpError) || error.status !== 404) throw error;
  const named = Object.values(inPath).map(String).join(", ");
  throw new HttpError(404, `There is no ${name.split(" ")[0]} ${named}`, { cause: error });
}

/** Whether something was done, and why or why not. */
function verdictOf(answer: unknown): { readonly done: boolean; readonly text: string } | undefined {
  if (typeof answer === "boolean") return { done: answer, text: answer ? "" : "That cannot be done now" };
  if (!Array.isArray(answer) || answer.length !== 2) return undefined;
  const [done, text] = answer as readonly unknown[];
  return typeof done === "boolean" && typeof text === "string" ? { done, text } : undefined;
}

function objectsOf({ args }: CliCommand, [first]: GivenArguments): readonly string[] {
  if (args.length === 0 || first === undefined) return [];
  return typeof first === "string" ? [first] : first;
}

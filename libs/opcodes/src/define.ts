/**
 * The shape of an opcode's declaration. One declaration is the only description of an operation: its
 * validation, job summary, remote API routes, OpenAPI description and command line derive from it.
 */
import { z } from "zod";
import { JOB_FINAL_STATUSES, SUBMIT_PRIORITIES } from "./enums.ts";
import { nonNegative, optional, optionalFlag, text, withDefault } from "./params/basic.ts";

const dependency = z.tuple([
  z.union(
    [
      z.int(),
      z
        .string()
        .regex(/^-?\d{1,15}$/)
        .transform(Number),
    ],
    {
      error: "must be a job id, or a negative number that counts back from this job",
    },
  ),
  z.array(z.enum(JOB_FINAL_STATUSES)),
]);

/** `[source, text, nanoseconds since 1970]`. Today's nanoseconds are beyond what a number holds to the last digit. */
const reasonEntry = z.tuple([text, text, z.number().multipleOf(1)]);
export type ReasonEntry = z.output<typeof reasonEntry>;

/** The parameters that every opcode takes (spec/opcodes.json, `common_params`). */
export const commonParams = {
  dry_run: optionalFlag("Run the checks only."),
  debug_level: optional(nonNegative, "How much is logged."),
  priority: withDefault(z.literal(SUBMIT_PRIORITIES), 0, "Smaller runs first."),
  depends: optional(
    z.array(dependency),
    "Jobs that must be over first, each with the final statuses that let this one run; none: any but canceled.",
  ),
  comment: optional(text, "A remark that is shown with the job."),
  reason: withDefault(z.array(reasonEntry), [], "Who asked for this and why, oldest first."),
};

export type ParamShape = Readonly<Record<string, z.ZodType>>;
/** What a caller must be allowed to do. Who may write may read. */
export type Access = "none" | "read" | "write";
export type HttpMethod = "GET" | "PUT" | "POST" | "DELETE";
/** Parameters by wire name, not validated yet. */
export type RawParams = Readonly<Record<string, unknown>>;
/** An opcode as jobs carry it: its parameters and `OP_ID`. */
export type WireOpcode = RawParams & { readonly OP_ID: string };

/**
 * A query argument. `flag` is a whole number, not zero for true; `count` is a whole number from `atLeast` on;
 * `list` is comma-separated; `repeated` may be given several times. An empty value is the same as absence.
 */
export interface QueryArgument {
  /** The parameter that it sets; the argument's own name when absent. */
  readonly param?: string;
  readonly type: "flag" | "count" | "string" | "list" | "repeated";
  /** The least value of a `count`; 0 when absent. */
  readonly atLeast?: number;
  /** The values it knows, each with what it sets the parameter to. */
  readonly values?: RawParams;
  readonly required?: boolean;
  /** What stands for absence. */
  readonly default?: unknown;
  /** Older clients' way to give a body's parameter: either may hold it, not both. Others never stand in a body. */
  readonly legacy?: boolean;
}
export type QueryArguments = Readonly<Record<string, QueryArgument>>;

/** What a route's `convert` is given. */
export interface RouteInput {
  /** Gathered from path, query, body and `fixed`, under the names the route gives them. */
  readonly params: RawParams;
  /** The JSON body without its `depends`, where the route's `body` is `other`; null when there is none. */
  readonly body: unknown;
}

/** One resource method that submits this opcode as a job. */
export interface JobRoute {
  readonly method: HttpMethod;
  /** `/2/instances/:instance_name/startup`; each `:name` sets the parameter of that name. */
  readonly path: string;
  /** Parts of the path that set a parameter of another name. */
  readonly pathParams?: Readonly<Record<string, string>>;
  /** Gannet's own: Ganeti's remote API has no such method. */
  readonly extension?: true;
  readonly access: Access;
  readonly query?: QueryArguments;
  /**
   * What the body is. `params`: an object of parameters; none is the same as an empty one. `ignored`: only its
   * key `depends` is read, and keys that are no parameter at all are refused. `other`: `convert` reads it.
   */
  readonly body: "params" | "ignored" | "other";
  /** Older names of body keys, each with the parameter it stands for. */
  readonly aliases?: Readonly<Record<string, string>>;
  /**
   * Parameters given by path or query that the body may give too, because the 2.5 document says so: a path's
   * must agree, a query argument goes before.
   */
  readonly alsoInBody?: readonly string[];
  /** Parameters that this route always sets. */
  readonly fixed?: RawParams;
  /** Parameters that this route does not let a client set. */
  readonly forbidden?: readonly string[];
  /** Defaults that the 2.5 document has and 3.1 has not, for clusters whose `rapi_defaults` is 2.5. */
  readonly defaults25?: RawParams;
  /** Where `dry_run` comes from. */
  readonly dryRun: "query" | "body" | "no";
  /** Body keys that are required, with a constant value, and are no parameter (`__version__`). */
  readonly bodyConstants?: Readonly<Record<string, number>>;
  /** Ganeti's handler name in lower case without its prefix, for the reason trail: `instances_name_startup`. */
  readonly handler: string;
  /**
   * For the few resources whose input is not the opcode's: the opcode's parameters, or the whole job when it
   * has several opcodes. Pure. @throws HttpError 400
   */
  readonly convert?: (input: RouteInput) => RawParams | readonly WireOpcode[];
  /** What a body is that `convert` reads, for who writes one; optional where there may be none. */
  readonly bodySchema?: z.ZodType;
  /**
   * What `convert` is to be given to come to these parameters; undefined where the route cannot say them. A route
   * that has `convert` and not this is for reading only: clients say the same by another route.
   */
  readonly invert?: (params: RawParams) => RouteInput | undefined;
}

export interface CliCommand {
  /** `instance startup` */
  readonly words: string;
  /** Parameters taken by position; the last may repeat when it is a list. */
  readonly args: readonly string[];
  /** Parameters that this command always sets, where several commands stand for one method. */
  readonly fixed?: RawParams;
  /** What this command does, where that is not all that its declaration says. */
  readonly doc?: string;
}

export interface OpcodeDeclaration<
  out Params extends ParamShape = ParamShape,
  out Result extends z.ZodType = z.ZodType,
> {
  readonly id: `OP_${string}`;
  /** One sentence. */
  readonly doc: string;
  readonly params: Params;
  readonly result: Result;
  /** The parameter shown in brackets in the job's summary. */
  readonly summary: string | null;
  readonly rapi: readonly JobRoute[];
  readonly cli: CliCommand | null;
  /** It takes a user who may do everything (README, "Who may do what"): the whole cluster may be lost by it. */
  readonly needsRoot?: true;
  /** All parameters, the common ones too; unknown keys are refused. */
  readonly schema: z.ZodType<OpcodeParams<Params>>;
}

type CommonParams = z.output<z.ZodObject<typeof commonParams>>;
export type OpcodeParams<Params extends ParamShape> = { [K in keyof Params]: z.output<Params[K]> } & CommonParams;
/** The validated parameters of an opcode, under their wire names. */
export type Op<D> = D extends OpcodeDeclaration<infer P, z.ZodType> ? OpcodeParams<P> : never;
export type OpResult<D> = D extends OpcodeDeclaration<ParamShape, infer R> ? z.output<R> : never;

type DeclarationInput<Params extends ParamShape, Result extends z.ZodType> = Omit<
  OpcodeDeclaration<Params, Result>,
  "schema" | "summary"
> & { readonly summary: (keyof Params & string) | null };

/** Declare an opcode. */
export function defineOpcode<Params extends ParamShape, Result extends z.ZodType>(
  declaration: DeclarationInput<Params, Result>,
): OpcodeDeclaration<Params, Result> {
  const schema = z.strictObject({ ...declaration.params, ...commonParams });
  return { ...declaration, schema: schema as unknown as z.ZodType<OpcodeParams<Params>> };
}

/** Name the command line of an opcode, or of a method that answers at once. */
export function command(words: string, { args = [], ...more }: Partial<Omit<CliCommand, "words">> = {}): CliCommand {
  return { words, args, ...more };
}

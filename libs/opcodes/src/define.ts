/**
 * The shape of an opcode's declaration. One declaration is the only description of an operation: its
 * validation, job summary, remote API routes, OpenAPI description and command line derive from it.
 */
import { z } from "zod";

/** The parameters that every opcode takes (spec/opcodes.json, `common_params`). */
export const commonParams = {
  dry_run: z.boolean().nullish().default(null),
  debug_level: z.int().nonnegative().nullish().default(null),
  priority: z.literal([-10, 0, 10]).default(0),
  depends: z
    .array(z.tuple([z.union([z.int(), z.string().regex(/^-?\d+$/).transform(Number)]), z.array(z.enum(["canceled", "error", "success"]))]))
    .nullish()
    .default(null),
  comment: z.string().nullish().default(null),
  reason: z.array(z.tuple([z.string(), z.string(), z.int()])).nullish().default([]),
};

export type ParamShape = Readonly<Record<string, z.ZodType>>;
export type Access = "none" | "read" | "write";
export type HttpMethod = "GET" | "PUT" | "POST" | "DELETE";

/** A query argument that sets a parameter. `flag` is Ganeti's 0|1 integer; `list` is comma-separated. */
export interface QueryArgument {
  /** The opcode's parameter that it sets; the argument's own name when absent. */
  readonly param?: string;
  readonly type: "flag" | "string" | "int" | "list" | "repeated";
  readonly required?: boolean;
  /** A role word, storage change or the like that becomes other parameters: see the route's `convert`. */
  readonly enum?: readonly string[];
}

/** One resource method that submits this opcode as a job. */
export interface JobRoute {
  readonly method: HttpMethod;
  /** `/2/instances/:instance_name/startup`; each `:name` sets the parameter of that name. */
  readonly path: string;
  readonly access: Access;
  readonly query?: Readonly<Record<string, QueryArgument>>;
  /** Whether the body holds parameters. `ignored`: only its key `depends` is read (spec/rapi.json). */
  readonly body: "params" | "ignored" | "other";
  /** Older names of body keys, each with the parameter it stands for. */
  readonly aliases?: Readonly<Record<string, string>>;
  /** Parameters that this route always sets. */
  readonly fixed?: Readonly<Record<string, unknown>>;
  /** Where `dry_run` comes from. */
  readonly dryRun: "query" | "body" | "no";
  /** Body keys that are required, with a constant value, and are no parameter (`__version__`). */
  readonly bodyConstants?: Readonly<Record<string, number>>;
  /** Ganeti's handler name in lower case without its prefix, for the reason trail: `instances_name_startup`. */
  readonly handler: string;
}

export interface CliCommand {
  /** `instance startup` */
  readonly words: string;
  /** Parameters taken by position. */
  readonly args: readonly string[];
}

export interface OpcodeDeclaration<Params extends ParamShape = ParamShape, Result extends z.ZodType = z.ZodType> {
  readonly id: `OP_${string}`;
  /** One sentence. */
  readonly doc: string;
  readonly params: Params;
  readonly result: Result;
  /** The parameter shown in brackets in the job's summary. */
  readonly summary: (keyof Params & string) | null;
  readonly rapi: readonly JobRoute[];
  readonly cli: CliCommand | null;
  /** All parameters, the common ones too; unknown keys are refused. */
  readonly schema: z.ZodType<OpcodeParams<Params>>;
}

type CommonParams = z.output<z.ZodObject<typeof commonParams>>;
export type OpcodeParams<Params extends ParamShape> = z.output<z.ZodObject<{ [K in keyof Params]: Params[K] }>> & CommonParams;
/** The validated parameters of an opcode, under their wire names. */
export type Op<D> = D extends OpcodeDeclaration<infer P, z.ZodType> ? OpcodeParams<P> : never;
export type OpResult<D> = D extends OpcodeDeclaration<ParamShape, infer R> ? z.output<R> : never;

/** Declare an opcode. */
export function defineOpcode<Params extends ParamShape, Result extends z.ZodType>(
  declaration: Omit<OpcodeDeclaration<Params, Result>, "schema">,
): OpcodeDeclaration<Params, Result> {
  const schema = z.strictObject({ ...declaration.params, ...commonParams });
  return { ...declaration, schema: schema as unknown as z.ZodType<OpcodeParams<Params>> };
}

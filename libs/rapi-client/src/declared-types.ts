/** Types of requests and answers, inferred from the declarations of @gannet/opcodes. */
import type { commonParams, KnownDirectMethod, OpcodeDeclaration, ParamShape } from "@gannet/opcodes";
import type { z } from "zod";

/** What a client may give where the schema reads it. */
export type InputOf<Schema> =
  Schema extends z.ZodPreprocess<infer Inner>
    ? InputOf<Inner>
    : Schema extends z.ZodPipe<infer From, z.ZodType>
      ? InputOf<From>
      : Schema extends z.ZodArray<infer Item>
        ? readonly InputOf<Item>[]
        : Schema extends z.ZodObject<infer Shape extends ParamShape>
          ? ShapeInput<Shape>
          : z.input<Schema & z.ZodType>;

type OptionalKeys<Shape> = { [K in keyof Shape]: undefined extends InputOf<Shape[K]> ? K : never }[keyof Shape];
type ShapeInput<Shape> = { readonly [K in Exclude<keyof Shape, OptionalKeys<Shape>>]: InputOf<Shape[K]> } & {
  readonly [K in OptionalKeys<Shape>]?: InputOf<Shape[K]> | null | undefined;
};

/** An opcode's parameters, as a client gives them. The reason trail is made by the server: see `reason`. */
export type OpcodeInput<D> =
  D extends OpcodeDeclaration<infer Params, z.ZodType>
    ? ShapeInput<Params & Omit<typeof commonParams, "reason">>
    : never;

/** `"instance_name"` of `/2/instances/:instance_name/tags` */
type PathNames<Path extends string> = Path extends `${string}:${infer Name}/${infer Rest}`
  ? Name | PathNames<`/${Rest}`>
  : Path extends `${string}:${infer Name}`
    ? Name
    : never;

export type DirectHttpMethod = KnownDirectMethod["method"];
/** The paths of the methods that answer at once in JSON. */
export type PathsOf<Method extends DirectHttpMethod> = Exclude<
  Extract<KnownDirectMethod, { method: Method }>,
  { mediaType: string }
>["path"];
type Declared<Method, Path> = Extract<KnownDirectMethod, { method: Method; path: Path }>;

type QueryOf<Declaration> = Declaration extends { readonly query: infer Arguments }
  ? { readonly [Name in keyof Arguments]?: ArgumentOf<Arguments[Name]> }
  : Record<never, never>;
type ArgumentOf<Argument> = Argument extends { readonly type: "flag" }
  ? boolean
  : Argument extends { readonly type: "count" }
    ? number
    : Argument extends { readonly type: "list" | "repeated" }
      ? readonly string[]
      : string;

/** What such a method is given: the parts of its path, its query and its body. */
export type DirectInput<Method extends DirectHttpMethod, Path extends string> = {
  readonly [Name in PathNames<Path>]: string | number;
} & {
  readonly query?: QueryOf<Declared<Method, Path>>;
} & (Declared<Method, Path> extends { readonly body: infer Body } ? { readonly body: InputOf<Body> } : unknown);

/** What it answers; with `bulk`, whole objects. */
export type DirectResult<Method extends DirectHttpMethod, Path extends string, Input> =
  Declared<Method, Path> extends { readonly bulkResult: infer Bulk }
    ? Input extends { readonly query: { readonly bulk: true } }
      ? z.output<Bulk & z.ZodType>
      : z.output<Declared<Method, Path>["result"]>
    : z.output<Declared<Method, Path>["result"]>;

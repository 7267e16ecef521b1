/** Every resource of the remote API with its methods (spec/rapi.json, `resources`). */
import type { HttpMethod } from "../define.ts";
import { OPCODES } from "../registry.ts";
import { DIRECT_METHODS } from "./direct-methods.ts";
import type { JobMethod, ResourceMethod } from "./methods.ts";
import { routesOf } from "./opcode-route.ts";

export interface Resource {
  readonly path: string;
  /** The whole raw path; each part that is a parameter is a named group. */
  readonly pattern: RegExp;
  readonly methods: ReadonlyMap<HttpMethod, ResourceMethod>;
}

/** What a path's parameters look like; all others are names. Nothing encoded is one of them. */
const PARAMETER_PATTERNS: Readonly<Record<string, string>> = { disk_index: "\\d+", job_id: "\\d+" };
const NAME_PATTERN = "[A-Za-z0-9_.-]+";

/** The source of the pattern that a part of the path must match in whole. */
export function patternSourceOf(name: string): string {
  return PARAMETER_PATTERNS[name] ?? NAME_PATTERN;
}

function patternOf(path: string): RegExp {
  const source = path.replaceAll(/:(\w+)/g, (_all, name: string) => `(?<${name}>${patternSourceOf(name)})`);
  return new RegExp(`^${source}$`);
}

function jobMethods(): readonly JobMethod[] {
  return [...OPCODES.values()].flatMap((opcode) =>
    routesOf(opcode).map((route): JobMethod => {
      const { method, path, access } = route;
      return { kind: "job", method, path, access, doc: opcode.doc, opcode, route };
    }),
  );
}

function resources(): readonly Resource[] {
  const all: readonly ResourceMethod[] = [...DIRECT_METHODS, ...jobMethods()];
  const byPath = Map.groupBy(all, ({ path }) => path);
  return [...byPath]
    .map(([path, methods]) => ({
      path,
      pattern: patternOf(path),
      methods: new Map(methods.map((method) => [method.method, method])),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

export const RESOURCES: readonly Resource[] = resources();

const FIXED_PATHS = new Map(
  RESOURCES.filter(({ path }) => !path.includes(":")).map((resource) => [resource.path, resource]),
);
const PATTERNS = RESOURCES.filter(({ path }) => path.includes(":"));

export interface FoundResource {
  readonly resource: Resource;
  readonly pathParams: Readonly<Record<string, string>>;
}

/** The resource at a raw path (without its query), or undefined: then the answer is 404. */
export function findResource(path: string): FoundResource | undefined {
  const fixed = FIXED_PATHS.get(path);
  if (fixed !== undefined) return { resource: fixed, pathParams: {} };
  for (const resource of PATTERNS) {
    const match = resource.pattern.exec(path);
    if (match !== null) return { resource, pathParams: { ...match.groups } };
  }
  return undefined;
}

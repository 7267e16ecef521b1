/** Requests of the remote API, and opcodes, as their declarations have them: right, nearly right and hostile. */
import { type DirectMethod, type JobMethod, type QueryArgument, RESOURCES, type ResourceMethod } from "@gannet/opcodes";
import fc from "fast-check";
import { LOGICAL_UNITS } from "../../src/logical-units/registry.ts";
import { mostly, objectOf, valuesOf } from "./schema-values.ts";
import { FOREIGN_KEYS, HOSTILE, INSTANCES, wordsFor } from "./words.ts";

export interface FuzzRequest {
  readonly method: string;
  /** Path and query as they are sent. */
  readonly target: string;
  /** The body; none when undefined. */
  readonly text: string | undefined;
  /** Whose answer is expected, when the request is one of a declared method. */
  readonly declared: ResourceMethod;
}

export type FuzzOpcode = Readonly<Record<string, unknown>> & { readonly OP_ID: string };

/** Waits for as long as it is told to. */
const WAITS = "OP_TEST_DELAY";

const METHODS = RESOURCES.flatMap(({ methods }) => [...methods.values()]).filter(
  (method) => method.kind !== "job" || method.opcode.id !== WAITS,
);

/** How often methods are asked for beside those that answer at once; most of what is done needs instances. */
const WEIGHT_OF_JOBS = 3;
const WEIGHTS: ReadonlyMap<string, number> = new Map([
  ["POST /2/instances", 30],
  ["PUT /2/instances/:instance_name/modify", 9],
  ["PUT /2/modify", 6],
]);

const PATH_TRICKS = [
  "..",
  ".",
  "%2e%2e",
  "%2F",
  "a%20b",
  "%00",
  "-rf",
  "__proto__",
  "constructor",
  "x".repeat(3000),
  "%zz",
];

const RAW = [
  "",
  " ",
  "{",
  "nul",
  "[".repeat(50_000),
  '{"a":'.repeat(20_000),
  "\ufeff{}",
  '"\\ud800"',
  "1e999",
  "{} {}",
  `[${"0,".repeat(99_999)}0]`,
];

const dependencies = fc.constantFrom<unknown>(
  [],
  [[1, []]],
  [["1", ["success"]]],
  [[-1, []]],
  [[99_999, []]],
  [[3, ["error"]]],
);

/** Creations that mostly succeed, so that the other requests find instances. */
const likelyCreation = fc
  .record({
    instance_name: fc.constantFrom(...INSTANCES),
    disk_template: fc.constantFrom("plain", "drbd", "file", "sharedfile", "diskless", "ext", "rbd"),
    disks: fc.array(fc.record({ size: fc.constantFrom<unknown>(1024, "1g", "1.5g") }), { maxLength: 3 }),
    nics: fc.array(fc.record({ mac: fc.constantFrom("auto", "generate") }), { minLength: 1, maxLength: 2 }),
    place: fc.constantFrom<object>(
      { pnode: "node1.gnt.test", snode: "node2.gnt.test" },
      { pnode: "node2", snode: "node3" },
      { pnode: "node3.gnt.test" },
      { iallocator: "." },
      {},
    ),
    start: fc.boolean(),
    forthcoming: mostly(fc.constant(false), fc.constant(true)),
  })
  .map(({ place, ...rest }) => ({
    ...{ __version__: 1, mode: "create", os_type: "noop", hypervisor: "fake", ...rest, ...place },
  }));

function requestOf(method: ResourceMethod): fc.Arbitrary<FuzzRequest> {
  return fc
    .record({
      verb: mostlyAlways(
        fc.constant<string>(method.method),
        fc.constantFrom("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH"),
      ),
      path: pathOf(method),
      suffix: mostlyAlways(
        fc.constant(""),
        fc.constantFrom("/", "//", "/..", "/../../2/info", "%00", "%2e%2e", "#x", ";a"),
      ),
      search: searchOf(method),
      text: textOf(method),
    })
    .map(({ verb, path, suffix, search, text }) => ({
      method: verb,
      target: `${path}${suffix}${search === "" ? "" : `?${search}`}`,
      text: verb === "HEAD" ? undefined : text,
      declared: method,
    }));
}

function pathOf({ path }: ResourceMethod): fc.Arbitrary<string> {
  const parts = path
    .split(/(:\w+)/)
    .map((part) => (part.startsWith(":") ? pathWord(part.slice(1)) : fc.constant(part)));
  return fc.tuple(...parts).map((words) => words.join(""));
}

function pathWord(name: string): fc.Arbitrary<string> {
  // No client sends what Node's own refuses to.
  const words = wordsFor(name).map((word) => encodeURI(String(word).toWellFormed()));
  return mostlyAlways(fc.constantFrom(...words), fc.constantFrom(...PATH_TRICKS));
}

function searchOf(method: ResourceMethod): fc.Arbitrary<string> {
  const query = method.kind === "job" ? method.route.query : method.query;
  const given = Object.entries(query ?? {}).map(([name, argument]) =>
    fc
      .option(argumentText(name, argument), { freq: argument.required ? 9 : 1 })
      .map((value) => (value === null ? [] : value.map((each) => `${name}=${encodeURIComponent(each)}`))),
  );
  const dryRun = fc.constantFrom<readonly string[]>([], [], [], ["dry-run=1"], ["reason=because"], ["dry-run=0"]);
  const odd = mostlyAlways(
    fc.constant<readonly string[]>([]),
    fc.constantFrom<readonly string[]>(["nosuch=1"], ["__proto__=1"], ["lock=1"], ["%zz=%ff"], ["bulk=1", "bulk=x"]),
  );
  return fc.tuple(fc.tuple(...given), dryRun, odd).map(([args, ...others]) => [...args, ...others].flat().join("&"));
}

function argumentText(name: string, argument: QueryArgument): fc.Arbitrary<readonly string[]> {
  return mostly(
    validArgument(argument.param ?? name, argument),
    fc.constantFrom(["x"], [""], ["\0"], ["9".repeat(40)], ["0", "1"]),
  );
}

function validArgument(name: string, { type, values }: QueryArgument): fc.Arbitrary<readonly string[]> {
  if (values !== undefined) return fc.constantFrom(...Object.keys(values)).map((value) => [value]);
  const words = wordsFor(name).map(String);
  switch (type) {
    case "flag":
      return fc.constantFrom(["0"], ["1"]);
    case "count":
      return fc.constantFrom(["1"], ["7"], ["100000"]);
    case "list":
      return fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 3 }).map((list) => [list.join(",")]);
    case "repeated":
      return fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 3 });
    case "string":
      return fc.constantFrom(...words).map((word) => [word]);
  }
}

function textOf(method: ResourceMethod): fc.Arbitrary<string | undefined> {
  const body = method.kind === "job" ? jobBody(method) : directBody(method);
  const json = disturbed(body).map((value) => (value === undefined ? undefined : JSON.stringify(value)));
  return fc.oneof(
    { weight: 30, arbitrary: json },
    { weight: 2, arbitrary: json.map((text) => text?.replace(/^\{/, '{"force":true,"name":"a","name":"b",')) },
    { weight: 1, arbitrary: json.map((text) => text?.replace(/^\{/, '{"__proto__":{"polluted":1},')) },
    { weight: 1, arbitrary: fc.constantFrom(...RAW) },
  );
}

function directBody({ body }: DirectMethod): fc.Arbitrary<unknown> {
  return body === undefined ? fc.constant(undefined) : valuesOf(body, "body");
}

function jobBody({ opcode, route, method }: JobMethod): fc.Arbitrary<unknown> {
  const elsewhere = new Set([
    ...[...route.path.matchAll(/:(\w+)/g)].map(([, name = ""]) => route.pathParams?.[name] ?? name),
    ...Object.entries(route.query ?? {}).map(([name, { param }]) => param ?? name),
    ...Object.keys(route.fixed ?? {}),
  ]);
  const own = Object.fromEntries(Object.entries(opcode.params).filter(([name]) => !elsewhere.has(name)));
  const params = objectOf(own).map((given) => ({ ...given, ...route.bodyConstants }));
  const likely = opcode.id === "OP_INSTANCE_CREATE" && method === "POST" ? mostly(likelyCreation, params) : params;
  const dependent = fc.tuple(likely, dependencies).map(([given, depends]) => ({ ...given, depends }));
  switch (route.body) {
    case "params":
      return mostly(likely, dependent);
    case "ignored":
      return mostly(fc.constant(undefined), fc.record({ depends: dependencies }));
    case "other":
      return fc.oneof(
        ...[fc.constant(undefined), params, objectOf(opcode.params)],
        fc.constantFrom<unknown>("offline", "drained", "master-candidate", "regular", ["blue"], { tags: ["blue"] }),
      );
  }
}

/** A value left as it is, or with one thing in it changed for a hostile one, or with keys that it must not have. */
function disturbed(values: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const hostile = fc.constantFrom(...HOSTILE);
  return fc.oneof(
    { weight: 6, arbitrary: values },
    {
      weight: 3,
      arbitrary: fc
        .tuple(values, fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), hostile)
        .map(([value, way, replacement]) => replaced(value, way, replacement)),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(values, fc.dictionary(fc.constantFrom(...FOREIGN_KEYS), hostile, { minKeys: 1, maxKeys: 2 }))
        .map(([value, foreign]) => (isObject(value) ? withKeys(value, foreign) : foreign)),
    },
  );
}

/** @param way which property to go to at each level, modulo how many there are */
function replaced(value: unknown, [turn, ...way]: readonly number[], replacement: unknown): unknown {
  if (turn === undefined || typeof value !== "object" || value === null) return replacement;
  const keys = Object.keys(value);
  const key = keys[turn % Math.max(keys.length, 1)];
  if (key === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((each, i) => (String(i) === key ? replaced(each, way, replacement) : each));
  return withKeys(value, { [key]: replaced((value as Record<string, unknown>)[key], way, replacement) });
}

/** With own properties whatever they are named, as a JSON parser makes them. */
function withKeys(value: object, more: object): object {
  return Object.fromEntries([...Object.entries(value), ...Object.entries(more)]);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The first, but for one in forty. */
function mostlyAlways<T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight: 39, arbitrary: usual }, { weight: 1, arbitrary: odd });
}

/** Any request. */
export const fuzzRequest: fc.Arbitrary<FuzzRequest> = fc.oneof(
  ...METHODS.map((method) => ({
    weight: method.kind === "job" ? (WEIGHTS.get(`${method.method} ${method.path}`) ?? WEIGHT_OF_JOBS) : 1,
    arbitrary: requestOf(method),
  })),
);

/** Opcodes that are performed and that no resource of Ganeti's submits. */
const UNROUTED = [...LOGICAL_UNITS.values()]
  .map(({ opcode }) => opcode)
  .filter(({ id, rapi }) => rapi.length === 0 && id !== WAITS);

export const fuzzOpcode: fc.Arbitrary<FuzzOpcode> = fc.oneof(
  ...UNROUTED.map((declaration) =>
    disturbed(objectOf(declaration.params)).map((params) => ({
      ...(isObject(params) ? params : {}),
      OP_ID: declaration.id,
    })),
  ),
);

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { DIRECT_CALLS, findResource, type JobMethod, OPCODES, RESOURCES, type ResourceMethod } from "../src/index.ts";

interface SpecMethod {
  readonly access: readonly string[];
  readonly kind: string;
  readonly dryRun: string;
  readonly opcode?: string | readonly string[];
  readonly query?: readonly string[];
  readonly required?: readonly string[];
  readonly static?: readonly string[];
  readonly aliases?: Readonly<Record<string, string>>;
  readonly forbidden_params?: readonly string[];
  readonly body?: string | readonly string[];
  readonly seedBody?: readonly string[];
}
type Spec = Readonly<
  Record<string, { readonly handler: string; readonly methods: Readonly<Record<string, SpecMethod>> }>
>;

/** The facts of Ganeti's remote API: access, arguments, where each parameter comes from. */
const spec = JSON.parse(readFileSync(new URL("fixtures/resources.json", import.meta.url), "utf8")) as Spec;

const CASES = Object.entries(spec).flatMap(([path, { handler, methods }]) =>
  Object.entries(methods).map(([method, facts]) => ({ name: `${method} ${path}`, path, method, handler, facts })),
);
const JOBS = CASES.filter(({ facts, path }) => facts.kind.startsWith("job") && path !== "/2/os");

/** Query arguments that 3.x clients send and the specification leaves out. */
const ALSO_IN_QUERY: Readonly<Record<string, readonly string[]>> = {
  "POST /2/instances/:instance_name/replace-disks": ["early_release"],
  "POST /2/nodes/:node_name/migrate": ["dry-run"],
};
/** Body keys of 3.0's clients that the specification, which is of 3.1, has no more. */
const ALSO_ALIASES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "PUT /2/instances/:instance_name/modify": { hotplug_if_possible: "hotplug" },
};
/** Query arguments of every job resource, read in one place. */
const EVERYWHERE = new Set(["reason", "dry-run"]);

function methodOf(path: string, name: string): ResourceMethod {
  const found = RESOURCES.find((resource) => resource.path === path);
  const method = [...(found?.methods.values() ?? [])].find((m) => m.method === name);
  if (method === undefined) throw new Error(`${name} ${path} is not there`);
  return method;
}

function jobOf(path: string, name: string): JobMethod {
  const method = methodOf(path, name);
  if (method.kind !== "job") throw new Error(`${name} ${path} is no job`);
  return method;
}

test("resources and methods are the specification's, and what else there is says so", () => {
  const methods = RESOURCES.flatMap((resource) => [...resource.methods.values()]);
  const isExtension = (method: ResourceMethod) =>
    (method.kind === "direct" ? method.extension : method.route.extension) === true;
  const ours = methods.filter((method) => !isExtension(method));
  const names = (some: readonly ResourceMethod[]) => some.map(({ method, path }) => `${method} ${path}`).sort();
  expect(names(ours)).toEqual(CASES.map(({ name }) => name).sort());
  expect([new Set(ours.map(({ path }) => path)).size, ours.length]).toEqual([61, 84]);
  const [opcodes = [], others = []] = [true, false].map((wanted) =>
    methods.filter((method) => isExtension(method) && (method.kind === "job") === wanted),
  );
  expect(names(opcodes)).toEqual(
    [...OPCODES.values()].flatMap(({ id, cli }) => (cli === null ? [] : [`POST /2/opcodes/${id}`])),
  );
  expect(names(others)).toEqual([
    "DELETE /2/join-tokens/:token_id",
    "DELETE /2/tokens/:token_id",
    "GET /2/jobs/:job_id/blockers",
    "GET /2/join-tokens",
    "GET /2/master",
    "GET /2/openapi",
    "GET /2/openapi.json",
    "GET /2/plans/balance",
    "GET /2/plans/capacity",
    "GET /2/plans/reboots",
    "GET /2/plans/repairs",
    "GET /2/plans/squeeze",
    "GET /2/queue",
    "GET /2/tokens",
    "GET /2/watcher",
    "POST /2/jobs/:job_id/archive",
    "POST /2/join",
    "POST /2/join-tokens",
    "POST /2/join/complete",
    "POST /2/master/failover",
    "POST /2/queue/archive",
    "POST /2/tokens",
    "PUT /2/jobs/:job_id/priority",
    "PUT /2/queue",
    "PUT /2/watcher/continue",
    "PUT /2/watcher/pause",
  ]);
});

test.each(CASES)("$name has the specification's access right", ({ path, method, facts }) => {
  const granted = { none: ["none"], read: ["read", "write"], write: ["write"] };
  expect(granted[methodOf(path, method).access]).toEqual(facts.access);
});

test.each(CASES)("$name is found by a path, and only by one", ({ path, method }) => {
  const example = path.replace(":disk_index", "0").replace(":job_id", "17").replaceAll(/:\w+/g, "web-1_a.example.com");
  const found = findResource(example);
  expect(found?.resource.path).toBe(path);
  expect(found?.resource.methods.has(methodOf(path, method).method)).toBe(true);
  expect(RESOURCES.filter(({ pattern }) => pattern.test(example)).length).toBe(1);
});

describe.each(JOBS)("$name", ({ name, path, method, handler, facts }) => {
  const { route, opcode } = jobOf(path, method);

  test("submits the specification's opcode under its handler's name", () => {
    expect([facts.opcode].flat()).toContain(opcode.id);
    expect(`R_2_${route.handler}`).toBe(handler);
  });

  test("reads the specification's query arguments", () => {
    const expected = [...(facts.query ?? []), ...(ALSO_IN_QUERY[name] ?? [])];
    const declared = Object.keys(route.query ?? {});
    expect(declared.filter((arg) => arg !== "dry-run" || expected.includes(arg)).sort()).toEqual(
      expected.filter((arg) => !EVERYWHERE.has(arg) || declared.includes(arg)).sort(),
    );
    const required = Object.entries(route.query ?? {}).flatMap(([arg, { required: r }]) => (r ? [arg] : []));
    expect(required).toEqual(facts.required ?? []);
  });

  test("takes the dry run from where the specification says", () => {
    const where = { query: "query dry-run", body: "body dry_run", no: "no" };
    expect(where[route.dryRun]).toBe(facts.dryRun);
  });

  test("has the specification's aliases and forbidden parameters", () => {
    expect(route.aliases ?? {}).toEqual({ ...facts.aliases, ...ALSO_ALIASES[name] });
    expect(route.forbidden ?? []).toEqual(facts.forbidden_params ?? []);
  });

  test("sets names in its path that the opcode, the handler or convert knows", () => {
    if (route.convert !== undefined) return;
    const parts = [...path.matchAll(/:(\w+)/g)].map(([, part = ""]) => route.pathParams?.[part] ?? part);
    for (const part of parts) expect(Object.keys(opcode.params)).toContain(part);
    for (const [arg, { param }] of Object.entries(route.query ?? {}))
      if (arg !== "dry-run") expect(Object.keys(opcode.params)).toContain(param ?? arg);
  });
});

test("every direct call is used, and each method has a sentence and a result that has a JSON Schema", () => {
  const methods = RESOURCES.flatMap((resource) => [...resource.methods.values()]);
  const used = methods.flatMap((method) => (method.kind === "direct" ? [method.call] : []));
  expect([...new Set(used)].sort()).toEqual([...DIRECT_CALLS]);
  for (const method of methods) {
    expect(method.doc).toMatch(/^[A-Z].*\.$/);
    if (method.kind === "direct") {
      expect(() => z.toJSONSchema(method.result)).not.toThrow();
      if (method.body !== undefined)
        expect(() => z.toJSONSchema(method.body ?? z.never(), { io: "input" })).not.toThrow();
    }
  }
});

test.each([
  "/2/",
  "/2/nodes/",
  "//2/info",
  "/3",
  "/2/jobs/abc",
  "/2/jobs/-1",
  "/2/jobs/1.5",
  "/2/nodes/node1%2Egnt%2Etest",
  "/2/instances/a%20b",
  "/2/instances/a b",
  "/2/instances/a/b",
  "/2/instances/x/disk/first/grow",
  "/2/instances/x\n",
  "/2/info#x",
  "version",
  "",
])("%j is no resource", (path) => {
  expect(findResource(path)).toBeUndefined();
});

test("a path's parameters come with it", () => {
  expect(findResource("/2/instances/web1.example.com/disk/2/grow")?.pathParams).toEqual({
    instance_name: "web1.example.com",
    disk_index: "2",
  });
});

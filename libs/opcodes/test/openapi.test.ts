/** The document is a valid one, and says of each method what the declarations say. */
import { schemaFaults } from "@gannet/testing";
import { describe, expect, test } from "vitest";
import {
  buildJobRequest,
  exampleOf,
  findResource,
  type HttpMethod,
  type JsonSchema,
  type OpenApiParameter,
  type Operation,
  openApiDocument,
  parseDirectRequest,
  RESOURCES,
} from "../src/index.ts";

const document = openApiDocument({ version: "1.2.3" });
const OPERATIONS = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ name: `${method} ${path}`, method, path, operation })),
);

function at(reference: string): unknown {
  return reference
    .split("/")
    .slice(1)
    .reduce<unknown>((place, key) => (place as Record<string, unknown> | undefined)?.[key], document);
}
const resolve = (reference: string) => at(reference) as JsonSchema;

function parametersOf({ parameters }: Operation): readonly OpenApiParameter[] {
  return parameters.map((it) => ("$ref" in it ? (at(it.$ref) as OpenApiParameter) : it));
}

function operation(method: HttpMethod, path: string): Operation {
  const found = document.paths[path]?.[method.toLowerCase() as "get"];
  if (found === undefined) throw new Error(`${method} ${path} is not in the document`);
  return found;
}

function bodyOf(method: HttpMethod, path: string): JsonSchema {
  return operation(method, path).requestBody?.content["application/json"]?.schema ?? {};
}

/** Every object in the document, with where it stands. */
function* places(value: unknown, path = "#"): Generator<readonly [string, Record<string, unknown>]> {
  if (typeof value !== "object" || value === null) return;
  if (!Array.isArray(value)) yield [path, value as Record<string, unknown>];
  for (const [key, part] of Object.entries(value)) yield* places(part, `${path}/${key}`);
}

describe("the document is valid OpenAPI 3.1", () => {
  test("in its outer form", () => {
    expect(document.openapi).toMatch(/^3\.1\.\d+$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: "1.2.3" });
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
    for (const part of Object.values(document.components))
      for (const name of Object.keys(part)) expect(name).toMatch(/^[\w.-]+$/);
  });

  test("every reference leads somewhere, and nothing but JSON Schema 2020-12 is in a schema", () => {
    for (const [path, { $ref, nullable, $defs, id }] of places(document)) {
      if (typeof $ref === "string") expect(at($ref), `${path}: ${$ref}`).toBeDefined();
      if (!path.endsWith("/properties")) expect([nullable, $defs, id], path).toEqual([undefined, undefined, undefined]);
    }
  });

  test("every operation has an id of its own, declared tags, and a success", () => {
    expect(new Set(OPERATIONS.map(({ operation: { operationId } }) => operationId)).size).toBe(OPERATIONS.length);
    const tags = document.tags.map(({ name }) => name);
    for (const { name, operation: it } of OPERATIONS) {
      expect(tags, name).toEqual(expect.arrayContaining([...it.tags]));
      expect(Object.keys(it.responses), name).toContain("200");
      for (const status of Object.keys(it.responses)) expect(status).toMatch(/^([1-5]\d\d|default)$/);
    }
  });

  test("the parameters of each path are those of its template, and none is there twice", () => {
    for (const { name, path, operation: it } of OPERATIONS) {
      const parameters = parametersOf(it);
      const inPath = parameters.filter((parameter) => parameter.in === "path");
      expect(inPath.map((parameter) => parameter.name).sort(), name).toEqual(
        [...path.matchAll(/\{(\w+)\}/g)].map(([, part]) => part).sort(),
      );
      expect(
        inPath.every(({ required }) => required === true),
        name,
      ).toBe(true);
      expect(new Set(parameters.map((parameter) => `${parameter.in} ${parameter.name}`)).size).toBe(parameters.length);
    }
  });

  test("every security requirement names a scheme", () => {
    const schemes = Object.keys(document.components.securitySchemes);
    for (const { operation: it } of OPERATIONS)
      for (const requirement of it.security) expect(schemes).toEqual(expect.arrayContaining(Object.keys(requirement)));
  });
});

test("every declared method is in it, and nothing else", () => {
  const declared = RESOURCES.flatMap(({ methods }) => [...methods.values()]).map(
    ({ method, path }) => `${method.toLowerCase()} ${path.replaceAll(/:(\w+)/g, "{$1}")}`,
  );
  expect(OPERATIONS.map(({ name }) => name).sort()).toEqual(declared.sort());
});

describe.each(OPERATIONS)("$name", ({ method, path, operation: it }) => {
  const schema = it.requestBody?.content["application/json"]?.schema;
  const example = schema === undefined ? undefined : exampleOf(schema, document.components.schemas);

  test("has an example that conforms to it and that the declaration takes", () => {
    if (schema !== undefined && it.requestBody?.required) expect(schemaFaults(schema, example, resolve)).toEqual([]);
    const value = (parameter: OpenApiParameter) =>
      String(exampleOf(parameter.schema, document.components.schemas, parameter.name));
    const parameters = parametersOf(it);
    const target = parameters
      .filter((parameter) => parameter.in === "path")
      .reduce((made, parameter) => made.replace(`{${parameter.name}}`, value(parameter)), path);
    const found = findResource(target);
    const declared = found?.resource.methods.get(method.toUpperCase() as HttpMethod);
    if (found === undefined || declared === undefined) throw new Error(`${target} is not found`);
    const needed = parameters.filter((parameter) => parameter.in === "query" && parameter.required === true);
    const request = {
      pathParams: found.pathParams,
      query: new URLSearchParams(needed.map((parameter): [string, string] => [parameter.name, value(parameter)])),
      body: it.requestBody?.required ? example : undefined,
    };
    if (declared.kind === "direct") expect(() => parseDirectRequest(declared, request)).not.toThrow();
    else
      expect(buildJobRequest(declared, request, { timeNs: 1, rapiDefaults: "3.1" }).opcodes.at(-1)?.OP_ID).toEqual(
        expect.any(String),
      );
  });
});

describe("what stands where", () => {
  test("a body has no parameter that the path or the route sets, nor one that may not be set", () => {
    const create = bodyOf("POST", "/2/instances").properties as object;
    expect(create).toHaveProperty("instance_name");
    expect(create).not.toHaveProperty("dry_run");
    expect(create).not.toHaveProperty("reason");
    expect(bodyOf("PUT", "/2/modify").properties).not.toHaveProperty("compression_tools");
    const { properties } = bodyOf("PUT", "/2/instances/{instance_name}/rename") as { properties: object };
    expect(Object.keys(properties)).not.toContain("instance_name");
    expect(Object.keys(properties)).toContain("dry_run");
  });

  test("older names are there, and deprecated; one of both names is required", () => {
    const { properties, required, allOf } = bodyOf("POST", "/2/instances") as Record<string, Record<string, unknown>>;
    expect(properties?.os).toMatchObject({ deprecated: true });
    expect(required).toEqual(["__version__", "disks", "mode", "nics"]);
    expect(allOf).toEqual([{ anyOf: [{ required: ["instance_name"] }, { required: ["name"] }] }]);
  });

  test("older clients' query arguments are deprecated; today's clients give the body", () => {
    const replace = operation("POST", "/2/instances/{instance_name}/replace-disks");
    expect(parametersOf(replace).find(({ name }) => name === "mode")).toMatchObject({
      in: "query",
      deprecated: true,
      schema: { enum: expect.arrayContaining(["replace_auto"]) },
    });
    expect(bodyOf("POST", "/2/instances/{instance_name}/replace-disks").required).toEqual(["mode"]);
  });

  test("access is security", () => {
    expect(operation("GET", "/2/info").security).toEqual([{ basic: [] }, { bearer: [] }, {}]);
    const readers = [{ basic: ["read"] }, { basic: ["write"] }];
    expect(operation("GET", "/2/query/{resource}").security).toEqual([
      ...readers,
      ...[{ bearer: ["read"] }, { bearer: ["write"] }],
    ]);
    expect(operation("PUT", "/2/modify").security).toEqual([{ basic: ["write"] }, { bearer: ["write"] }]);
    expect(operation("GET", "/2/tokens").security).toEqual(readers);
  });
});

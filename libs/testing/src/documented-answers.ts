/** Whether answers of the remote API are what its OpenAPI document says. */
import { type JsonSchema, schemaFaults } from "./json-schema.ts";

interface Response {
  readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>;
}
type Referable<T> = T | { readonly $ref: string };

/** As much of an OpenAPI document as says what is answered. */
export interface AnswerDocument {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly responses: Readonly<Record<string, Referable<Response>>> } | undefined>>
    >
  >;
  readonly components: { readonly responses: Readonly<Record<string, Response>> };
}

export interface GivenAnswer {
  readonly method: string;
  /** Path and query, as sent. */
  readonly target: string;
  readonly status: number;
  /** Parsed. */
  readonly json: unknown;
}

/**
 * A check that answers what is wrong with an answer; nothing when it is as documented. What reaches no operation (no
 * such path or method) must be the shared error.
 */
export function documentedAnswers(document: AnswerDocument): (answer: GivenAnswer) => readonly string[] {
  const resolve = (reference: string): JsonSchema => {
    const found = reference
      .split("/")
      .slice(1)
      .reduce<unknown>((place, key) => (place as Readonly<Record<string, unknown>> | undefined)?.[key], document);
    if (found === undefined) throw new Error(`The document has no ${reference}`);
    return found as JsonSchema;
  };
  const templates = Object.entries(document.paths)
    .map(([template, item]) => ({ pattern: patternOf(template), item, variables: template.split("{").length }))
    // A path without variables goes before one that has some in its place.
    .sort((a, b) => a.variables - b.variables);
  const error: Referable<Response> = { $ref: "#/components/responses/Error" };

  return ({ method, target, status, json }) => {
    const path = target.split("?", 1)[0] ?? "";
    const item = templates.find(({ pattern }) => pattern.test(path))?.item;
    const responses = item?.[method.toLowerCase()]?.responses ?? { default: error };
    const response = responses[String(status)] ?? (status < 400 ? undefined : responses.default);
    if (response === undefined) return [`${method} ${path}: the status ${status} is not documented`];
    const { content } = ("$ref" in response ? resolve(response.$ref) : response) as Response;
    const schema = content?.["application/json"]?.schema;
    if (schema === undefined) return [`${method} ${path}: the status ${status} is documented without JSON`];
    return schemaFaults(schema, json, resolve, `${method} ${path} (${status})`);
  };
}

function patternOf(template: string): RegExp {
  const literal = (text: string) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(
    `^${template
      .split(/\{\w+\}/)
      .map(literal)
      .join("[^/]+")}$`,
  );
}

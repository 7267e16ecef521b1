/** The document as one HTML page that needs nothing else: no script, no style or font from elsewhere. Pure. */
import { exampleOf, nameOf, typeText } from "./schema-text.ts";
import type { JsonSchema, OpenApiDocument, OpenApiParameter, OpenApiResponse, Operation, Reference } from "./types.ts";

/** The page's one style sheet, for the hash in its security policy. */
export const OPEN_API_PAGE_STYLE = `
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; }
nav a { margin-right: 1rem; }
details { border: 1px solid #8886; border-radius: 4px; margin: .4rem 0; padding: .3rem .7rem; }
summary { cursor: pointer; }
summary code { font-weight: 600; }
.method { display: inline-block; min-width: 4.5rem; font: 700 .8rem ui-monospace, monospace; }
.get { color: #1a7f37; } .put { color: #9a6700; } .post { color: #0969da; } .delete { color: #cf222e; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { border-top: 1px solid #8884; padding: .2rem .5rem; text-align: left; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; }
pre { background: #8882; padding: .5rem; white-space: pre-wrap; }
.old { opacity: .6; }
`;

/** Text that HTML takes as it stands. */
class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

type Part = string | Html | readonly Html[];

/** HTML in which every text that is put in is escaped. */
function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.map((text, index) => text + rendered(parts[index] ?? "")).join(""));
}

function rendered(part: Part): string {
  if (part instanceof Html) return part.text;
  if (typeof part !== "string") return part.map(({ text }) => text).join("\n");
  return part.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const NOTHING = new Html("");

export function openApiPage(document: OpenApiDocument): string {
  const { info, tags, components } = document;
  const operations = operationsOf(document);
  const page = html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${info.title}</title>
<style>${new Html(OPEN_API_PAGE_STYLE)}</style>
</head>
<body>
<h1>${info.title} <small>${info.version}</small></h1>
${info.description.split("\n\n").map((paragraph) => html`<p>${marked(paragraph)}</p>`)}
<p>As a document for programs: <a href="/2/openapi.json">OpenAPI ${document.openapi}</a>.</p>
<nav>${tags.map(({ name }) => html`<a href="#${name}">${name}</a>`)}<a href="#schemas">schemas</a></nav>
${tags.map(
  ({ name, description }) => html`<section id="${name}">
<h2>${name}</h2>
<p>${description}</p>
${operations.filter(({ operation }) => operation.tags.includes(name)).map((shown) => operationHtml(shown, document))}
</section>`,
)}
<section id="schemas">
<h2>schemas</h2>
${Object.entries(components.schemas).map(
  ([name, schema]) => html`<details id="schema-${name}">
<summary><code>${name}</code> ${marked(text(schema.description))}</summary>
${propertiesHtml(schema)}
</details>`,
)}
</section>
</body>
</html>
`;
  return page.text;
}

interface ShownOperation {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

function operationsOf({ paths }: OpenApiDocument): readonly ShownOperation[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ method, path, operation })),
  );
}

function operationHtml({ method, path, operation }: ShownOperation, document: OpenApiDocument): Html {
  const { requestBody, operationId, summary, description } = operation;
  const parameters = operation.parameters.map((parameter) => resolved(parameter, document.components.parameters));
  const body = requestBody?.content["application/json"]?.schema;
  return html`<details id="${operationId}">
<summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${path}</code> ${marked(summary)}</summary>
<p>${marked(description ?? "")} ${accessText(operation)}</p>
${parameters.length === 0 ? NOTHING : parametersHtml(parameters)}
${
  body === undefined
    ? NOTHING
    : html`<h4>Body${requestBody?.required ? "" : " (optional)"}</h4><p>${marked(requestBody?.description ?? "")}</p>${propertiesHtml(body)}`
}
<h4>Answer</h4>
${answerHtml(operation, document)}
<h4>Example</h4>
<pre>${curlOf({ method, path, operation }, parameters, document)}</pre>
</details>`;
}

function accessText({ security }: Operation): string {
  const roles = [...new Set(security.flatMap(({ basic = [] }) => basic))];
  if (roles.length > 0) return `Needs a user with the option ${roles.join(" or ")}.`;
  return "Any user may ask, and nobody at all where the cluster allows anonymous reads.";
}

function parametersHtml(parameters: readonly OpenApiParameter[]): Html {
  return html`<h4>Parameters</h4>
<table>
<tr><th>name</th><th>in</th><th>type</th><th>meaning</th></tr>
${parameters.map(
  (it) =>
    html`<tr${rowClass(it.deprecated)}><td><code>${it.name}</code>${requiredMark(it.required)}</td><td>${it.in}</td>${typeCell(it.schema)}<td>${meaning(it.description, it.deprecated)}</td></tr>`,
)}
</table>`;
}

function propertiesHtml(schema: JsonSchema): Html {
  const properties = (schema.properties ?? {}) as Readonly<Record<string, JsonSchema>>;
  if (Object.keys(properties).length === 0) return html`<p><code>${typeText(schema)}</code></p>`;
  const required = (schema.required ?? []) as readonly string[];
  return html`<table>
<tr><th>key</th><th>type</th><th>meaning</th></tr>
${Object.entries(properties).map(
  ([name, it]) =>
    html`<tr${rowClass(it.deprecated)}><td><code>${name}</code>${requiredMark(required.includes(name))}</td>${typeCell(it)}<td>${meaning(it.description, it.deprecated)}</td></tr>`,
)}
</table>`;
}

function rowClass(deprecated: unknown): Html {
  return deprecated === true ? html` class="old"` : NOTHING;
}

function requiredMark(required: unknown): string {
  return required === true ? " (required)" : "";
}

function typeCell(schema: JsonSchema): Html {
  const preset = schema.default === undefined || schema.default === null ? "" : ` = ${JSON.stringify(schema.default)}`;
  return html`<td><code>${typeText(schema)}${preset}</code></td>`;
}

function meaning(description: unknown, deprecated: unknown): Html {
  return html`${deprecated === true ? "For older clients, in place of today's form. " : ""}${marked(text(description))}`;
}

function answerHtml(operation: Operation, { components }: OpenApiDocument): Html {
  const answer = resolved<OpenApiResponse>(operation.responses["200"] ?? { description: "" }, components.responses);
  const [[type, { schema }] = ["", { schema: {} }]] = Object.entries(answer.content ?? {});
  const job = operation["x-job"];
  return html`<p>${answer.description} <code>${type}: ${typeText(schema)}</code>${
    job === undefined ? "" : html` The job's result: <code>${typeText(job.result)}</code>`
  }</p>`;
}

function curlOf(
  { method, path, operation }: ShownOperation,
  parameters: readonly OpenApiParameter[],
  { components }: OpenApiDocument,
): string {
  const example = ({ name, schema }: OpenApiParameter) => String(exampleOf(schema, components.schemas, name));
  const target = parameters
    .filter((it) => it.in === "path")
    .reduce((made, it) => made.replace(`{${it.name}}`, example(it)), path);
  const query = parameters.filter((it) => it.in === "query" && it.required === true);
  const search = query.map((it) => `${it.name}=${encodeURIComponent(example(it))}`).join("&");
  const body = operation.requestBody?.required ? operation.requestBody.content["application/json"]?.schema : undefined;
  return [
    "curl -u USER",
    ...(method === "get" ? [] : [`-X ${method.toUpperCase()}`]),
    ...(method === "get" && body !== undefined ? ["-X GET"] : []),
    ...(body === undefined
      ? []
      : ["-H 'Content-Type: application/json'", `-d '${JSON.stringify(exampleOf(body, components.schemas))}'`]),
    `'https://CLUSTER:5080${target}${search === "" ? "" : `?${search}`}'`,
  ].join(" ");
}

function resolved<T extends object>(given: T | Reference, components: Readonly<Record<string, T>>): T {
  if (!("$ref" in given)) return given;
  const found = components[nameOf(given.$ref)];
  if (found === undefined) throw new Error(`The document refers to ${given.$ref}, which it does not have`);
  return found;
}

/** Words between backquotes are code. */
function marked(given: string): Html {
  const parts = given.split("`").map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : html`${part}`));
  return new Html(parts.map(({ text: part }) => part).join(""));
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

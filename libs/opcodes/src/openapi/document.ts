/** The remote API as an OpenAPI 3.1 document, derived from the declarations. Pure. */
import { RESOURCES } from "../rapi/resources.ts";
import { operationOf, SHARED_RESPONSES, TAGS } from "./operation.ts";
import { SHARED_PARAMETERS, templateOf } from "./parameters.ts";
import { SchemaCollection } from "./schemas.ts";
import type { JsonSchema, OpenApiDocument, PathItem } from "./types.ts";

const DESCRIPTION = `Ganeti's remote API, version 2, as Gannet answers it.

Methods that change something submit a job and answer its number; \`GET /2/jobs/{job_id}/wait\` waits for it, and
\`GET /2/jobs/{job_id}\` has its results. Of a parameter that is not required, null says the same as absence.`;

const ERROR: JsonSchema = {
  type: "object",
  description: "Why a request failed.",
  properties: {
    code: { type: "integer", description: "The HTTP status." },
    message: { type: "string", description: "What was wrong with this request." },
    explain: { type: "string", description: "What the status means." },
  },
  required: ["code", "message", "explain"],
  additionalProperties: false,
};

const JOB_ID: JsonSchema = { type: "integer", minimum: 1, description: "The number of a job." };

/** @param version of the software that answers */
export function openApiDocument({ version }: { readonly version: string }): OpenApiDocument {
  const schemas = new SchemaCollection();
  const paths = Object.fromEntries(
    RESOURCES.map(({ path, methods }): [string, PathItem] => [
      templateOf(path),
      Object.fromEntries([...methods.values()].map((it) => [it.method.toLowerCase(), operationOf(it, schemas)])),
    ]),
  );
  return {
    openapi: "3.1.1",
    info: { title: "Gannet remote API", version, description: DESCRIPTION },
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    paths,
    components: {
      schemas: { ...schemas.components, Error: ERROR, JobId: JOB_ID },
      parameters: SHARED_PARAMETERS,
      responses: SHARED_RESPONSES,
      securitySchemes: {
        basic: { type: "http", scheme: "basic", description: "A user of the users file, with its options as roles." },
        bearer: {
          type: "http",
          scheme: "bearer",
          description:
            "An API token, with its right on this kind of resource as its role; its maker has the role, too.",
        },
      },
    },
  };
}

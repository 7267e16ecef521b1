/** Every answer that a test is given is compared with the API's own description. */
import { openApiDocument } from "@gannet/opcodes";
import { documentedAnswers } from "@gannet/testing";
import { GANNET_VERSION } from "../../src/version.ts";

interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: unknown;
}

const faultsOf = documentedAnswers(openApiDocument({ version: GANNET_VERSION }));

/** @throws Error where an answer in JSON is not as documented */
export function requireDocumented(method: string, target: string, reply: Answered): void {
  if (reply.headers["content-type"] !== "application/json" || reply.text === "") return;
  const faults = faultsOf({ method, target, status: reply.status, json: reply.json });
  if (faults.length > 0) throw new Error(`Not as the OpenAPI document says: ${faults.join("; ")}`);
}

/** Which requests the audit log records, and what of them. */
import type { IncomingMessage } from "node:http";
import type { ResourceMethod } from "@gannet/opcodes";
import type { AuditEntry } from "./audit-log.ts";
import { namedIn } from "./authenticator.ts";
import type { Answer, Requester } from "./handlers.ts";
import { TooManyFailures } from "./login-limiter.ts";

/** How a request ended. */
export interface EndedRequest {
  readonly req: IncomingMessage;
  readonly address: string;
  readonly path: string;
  /** Undefined when the path has none. */
  readonly method: ResourceMethod | undefined;
  /** Undefined when the login was refused. */
  readonly requester: Requester | undefined;
  readonly answer: Answer | undefined;
  readonly status: number | null;
  readonly failure: unknown;
}

const NAME_LENGTH = 128;

/** Whether what this method does is recorded: jobs and changes are, and queries that need a body are none. */
export function auditedMethod(method: ResourceMethod): boolean {
  return method.kind === "job" || (method.method !== "GET" && method.call !== "query");
}

/** Undefined for what is not recorded. */
export function recordOf(request: EndedRequest): AuditEntry | undefined {
  const { req, address, path, method, requester, answer, status, failure } = request;
  if (method === undefined) return undefined;
  const header = req.headers.authorization;
  const common = { address, method: method.method, path, status };
  if (requester === undefined) {
    // Whoever sends no credentials asks which are wanted, and is not a refused login.
    if (header === undefined || (failure instanceof TooManyFailures && failure.isRepeated)) return undefined;
    return { user: namedIn(header)?.slice(0, NAME_LENGTH) ?? null, ...common };
  }
  if (!auditedMethod(method)) return undefined;
  const opcodes = answer?.opcodes ?? (method.kind === "job" ? [method.opcode.id] : undefined);
  return {
    user: requester.name,
    ...(requester.token === undefined ? {} : { token: requester.token.id }),
    ...common,
    ...(opcodes === undefined ? {} : { opcodes }),
    ...(answer?.job === undefined ? {} : { job: answer.job }),
    ...(answer?.subject === undefined ? {} : { subject: answer.subject }),
  };
}

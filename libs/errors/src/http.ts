/** Errors as the remote API answers them: `{code, message, explain}` (spec/rapi.json, `http.errors`). */
import type { ErrorCode } from "./error-codes.ts";
import {
  ConfigurationError,
  FileStoragePathError,
  GannetError,
  HttpError,
  JobLost,
  JobQueueDrainError,
  JobQueueFull,
  OpPrereqError,
  StaleEpoch,
  TagError,
  TypeEnforcementError,
  Unavailable,
} from "./gannet-error.ts";

/** The body of every answer that is not a success. */
export interface HttpErrorBody {
  readonly code: number;
  readonly message: string;
  readonly explain: string;
}

/** Ganeti's standard long text of each status it uses. */
const EXPLANATIONS: Readonly<Record<number, string>> = {
  400: "Bad request syntax or unsupported method",
  401: "No permission -- see authorization schemes",
  403: "Request forbidden -- authorization will not help",
  404: "Nothing matches the given URI",
  405: "Specified method is invalid for this resource",
  409: "Request conflict",
  413: "Entity is too large",
  415: "Entity body in unsupported format",
  429: "Too many requests",
  500: "Server got itself in trouble",
  501: "Server does not support this operation",
  502: "Invalid responses from another server/proxy",
  503: "The server cannot process the request due to a high load",
  504: "The gateway server did not receive a timely response",
};

const STATUS_OF_CODE: Readonly<Record<ErrorCode, number>> = {
  already_exists: 409,
  environment_error: 400,
  insufficient_resources: 409,
  internal_error: 500,
  resolver_error: 400,
  resource_not_unique: 409,
  temp_insufficient_resources: 503,
  unknown_entity: 404,
  wrong_input: 400,
  wrong_state: 409,
};

function statusOf(error: unknown): number {
  if (error instanceof HttpError) return error.status;
  if (error instanceof OpPrereqError) return STATUS_OF_CODE[error.code];
  if (error instanceof JobLost) return 404;
  if (
    error instanceof JobQueueDrainError ||
    error instanceof JobQueueFull ||
    error instanceof Unavailable ||
    error instanceof StaleEpoch
  )
    return 503;
  if (
    error instanceof TypeEnforcementError ||
    error instanceof TagError ||
    error instanceof ConfigurationError ||
    error instanceof FileStoragePathError
  )
    return 400;
  return 500;
}

/**
 * The answer to a request that failed. A 404's message is always `Not Found`, which clients compare. The
 * text of an error outside the taxonomy stays in the log.
 */
export function httpErrorBody(error: unknown): HttpErrorBody {
  const code = statusOf(error);
  return { code, message: messageOf(error, code), explain: explanationOf(error, code) };
}

const NOT_FOUND = "Not Found";

/** What was not found, where that is known, has no other place than this. */
function explanationOf(error: unknown, code: number): string {
  if (code === 404 && error instanceof GannetError && error.message !== NOT_FOUND) return error.message;
  return EXPLANATIONS[code] ?? "Cannot fulfill request";
}

function messageOf(error: unknown, code: number): string {
  if (code === 404) return NOT_FOUND;
  if (code === 500) return "Internal error; the master's log tells more";
  return error instanceof Error ? error.message : String(error);
}

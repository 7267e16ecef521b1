/** The answers to requests that reach no resource, worded as clients compare them (spec/rapi.json, `http.errors`). */
import { HttpError } from "@gannet/errors";

/** No such path, or nothing of this name. */
export function notFound(): HttpError {
  return new HttpError(404, "Not Found");
}

/** The path is there, but has no such method. */
export function unsupported(method: string, path: string): HttpError {
  return new HttpError(501, `Method ${method} is unsupported for path ${path}`);
}

export function unauthorized(): HttpError {
  return new HttpError(401, "Unauthorized");
}

export function forbidden(message = "Forbidden"): HttpError {
  return new HttpError(403, message);
}

export function unspokenVersion(): HttpError {
  return new HttpError(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here");
}

/** Declared, but nothing performs it yet. @param what the opcode, or method and path */
export function notAvailable(what: string): HttpError {
  return new HttpError(501, `${what} is not available in this version of Gannet`);
}

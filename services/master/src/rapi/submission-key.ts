/**
 * `Idempotency-Key`: a client that lost the answer repeats its request with the same key and gets the first one's
 * job (draft-ietf-httpapi-idempotency-key-header-07). The key may be quoted, as the draft writes it, or bare.
 */
import { createHmac, hash } from "node:crypto";
import { HttpError } from "@gannet/errors";
import type { SubmissionKey } from "@gannet/job-ledger";

/** Printable ASCII without blanks, so that two headers of this name, which Node joins by `, `, are not one key. */
const KEY = /^[\x21-\x7e]{1,255}$/;

/** What must be the same for two requests to be one. */
export interface RequestIdentity {
  readonly user: string;
  readonly method: string;
  /** Path and query, as they came. */
  readonly target: string;
  /** Parsed. The order of its keys means nothing: some clients write it anew each time. */
  readonly body: unknown;
}

/**
 * The key of a request that submits a job; undefined without the header. What is stored tells nothing of the request,
 * also to somebody who guesses at its secrets, unless he knows the client's key.
 * @throws HttpError 400 when the header is malformed
 */
export function submissionKeyOf(
  header: string | readonly string[] | undefined,
  { user, method, target, body }: RequestIdentity,
): SubmissionKey | undefined {
  if (header === undefined) return undefined;
  if (typeof header !== "string" || !KEY.test(header))
    throw new HttpError(400, "Idempotency-Key must be 1 to 255 printable ASCII characters without blanks");
  const request = JSON.stringify([method, target, body ?? null], inOrder);
  return {
    id: hash("sha256", JSON.stringify([user, header]), "base64url"),
    digest: createHmac("sha256", header).update(request).digest("base64url"),
  };
}

/** For `JSON.stringify`: objects with their keys in order. */
function inOrder(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

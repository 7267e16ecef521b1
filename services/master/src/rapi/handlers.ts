/** How the resources that answer at once are written: one handler for each call that @gannet/opcodes names. */
import type { JobId } from "@gannet/job-ledger";
import type { ApiToken } from "@gannet/objects";
import type { DirectCall, RawParams } from "@gannet/opcodes";

/** Who a request comes from, as far as rights and the job's requester go. */
export interface Requester {
  readonly name: string;
  readonly options: ReadonlySet<string>;
  /** The API token by which he came, which narrows what he may do. */
  readonly token?: { readonly id: string } & Pick<ApiToken, "rights" | "root">;
}

/** A request that is allowed and well-formed, as its resource's declaration says. */
export interface HandlerRequest {
  /** Of path and query. */
  readonly params: RawParams;
  /** As the declaration's schema gives it; null where it has none. */
  readonly body: unknown;
  readonly requester: Requester;
  /** IP address that it comes from. */
  readonly address: string;
  /** Aborted when nobody waits for the answer any more: the client is gone or the server stops. */
  readonly signal: AbortSignal;
}

/** A success: status 200 with a JSON value and a newline, or what its headers say. */
export interface Answer {
  readonly body: Buffer;
  /** Another status, of an answer that another master has given. */
  readonly status?: number;
  /** `Content-Type` among them where it is no JSON. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Quoted; who has this version already (`If-None-Match`) is answered 304 without a body. */
  readonly etag?: string;
  /** The job that the request submitted. */
  readonly job?: JobId;
  /** The opcodes of that job. */
  readonly opcodes?: readonly string[];
  /** Id of what the request made, for the audit log, where it is no job. */
  readonly subject?: string;
}

export type Handler = (request: HandlerRequest) => Answer | Promise<Answer>;

/** Calls without a handler are answered 501. */
export type Handlers = Readonly<Partial<Record<DirectCall, Handler>>>;

/** A parameter that stands in the path. */
export function pathParam({ params }: HandlerRequest, name: string): string {
  return String(params[name] ?? "");
}

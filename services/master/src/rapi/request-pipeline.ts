/**
 * The way of one request, in the order that clients rely on (spec/README.md, row 3): path (404), method (501),
 * credentials (401), rights (403), whether anybody is served now (503), body (413, 415, 400), then the resource itself.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ConfigStore } from "@gannet/config-store";
import { GannetError, HttpError } from "@gannet/errors";
import type { SubmissionKey } from "@gannet/job-ledger";
import {
  type ApiRequest,
  type DirectCall,
  type DirectMethod,
  findResource,
  type HttpMethod,
  type JobMethod,
  methodKind,
  parseDirectRequest,
  type ResourceMethod,
} from "@gannet/opcodes";
import type { Logger } from "@gannet/telemetry";
import type { Context } from "koa";
import { refuseWhenDestroyed } from "../destroyed-cluster.ts";
import { errorAnswer } from "./answers.ts";
import { auditedMethod, recordOf } from "./audit-record.ts";
import { type Authenticator, CHALLENGE } from "./authenticator.ts";
import type { Answer, HandlerRequest, Handlers, Requester } from "./handlers.ts";
import type { Submitter } from "./job-submission.ts";
import { NoLeader } from "./leader-forwarding.ts";
import { TooManyFailures } from "./login-limiter.ts";
import type { RapiDeps } from "./rapi-deps.ts";
import { notAvailable, notFound, unauthorized, unspokenVersion, unsupported } from "./refusals.ts";
import { ClientGone, hasBody, readJsonBody } from "./request-body.ts";
import { lackOfRight } from "./rights.ts";
import { submissionKeyOf } from "./submission-key.ts";

export interface PipelineParts {
  readonly handlers: Handlers;
  readonly submit: (method: JobMethod, request: ApiRequest, submitter: Submitter) => Promise<Answer>;
  readonly authenticator: Authenticator;
  readonly configStore: Pick<ConfigStore, "view">;
  readonly audit: RapiDeps["audit"];
  readonly onRequestEnd: RapiDeps["onRequestEnd"];
  readonly leader: RapiDeps["leader"];
  readonly forwarding: RapiDeps["forwarding"];
  /** Why no request is served now. */
  readonly refusal: (() => Error | undefined) | undefined;
  readonly logger: Logger;
}

/** What is asked with another method than GET and changes nothing. */
const READING_CALLS: ReadonlySet<DirectCall> = new Set(["query"]);

/** Who asks when the cluster answers reads without credentials (`rapiAnonymousReads`). */
const ANONYMOUS: Requester = { name: "anonymous", options: new Set() };

/** Who proves by the token in the body of the request that it may be made. */
const JOINING: Requester = { name: "joining", options: new Set() };

const NO_ARGUMENTS = new URLSearchParams();

/** How long a refused request may go on sending before the connection is cut, so that its sender reads why. */
const LINGER_MS = 2000;

export class RequestPipeline {
  readonly #parts: PipelineParts;
  readonly #open = new OpenRequests();

  constructor(parts: PipelineParts) {
    this.#parts = parts;
  }

  /** Answer what waits, and close each connection with its next answer. */
  stop(): void {
    this.#open.stop();
  }

  /** The Koa middleware. */
  async serve(ctx: Context): Promise<void> {
    const startedMs = performance.now();
    const target = splitTarget(ctx.req.url ?? "");
    const trace: Trace = { requester: undefined, method: undefined, answer: undefined };
    let failure: unknown;
    ctx.set("Content-Type", "application/json");
    try {
      succeed(ctx, await this.#answer(ctx.req, ctx.res, target, trace));
    } catch (error) {
      failure = error;
      this.#refuse(ctx, error);
    }
    if (this.#open.stopped && !ctx.headerSent) ctx.set("Connection", "close");
    const ms = performance.now() - startedMs;
    this.#log(ctx, target.path, trace, ms, failure);
    this.#audit(ctx, target.path, trace, failure);
    const { method: name = "" } = ctx.req;
    this.#parts.onRequestEnd?.({ route: trace.method?.path, method: name, status: ctx.res.statusCode, ms });
  }

  async #answer(req: IncomingMessage, res: ServerResponse, { path, search }: Target, trace: Trace): Promise<Answer> {
    // Node's parser takes 2.0 for a version that it speaks.
    if (req.httpVersionMajor > 1) throw unspokenVersion();
    const found = findResource(path);
    if (found === undefined) throw notFound();
    const name = req.method ?? "";
    const method = found.resource.methods.get(name as HttpMethod);
    if (method === undefined) throw unsupported(name, path);
    trace.method = method;
    const requester = await this.#requester(req, method);
    trace.requester = requester;
    const lack = lackOfRight(requester, method, methodKind(method, found.pathParams));
    if (lack !== undefined) throw lack;
    const refusal = this.#parts.refusal?.();
    if (refusal !== undefined) throw refusal;
    if (method.access === "write" && name !== "GET") refuseWhenDestroyed(this.#parts.configStore.view);
    if (auditedMethod(method)) await this.#parts.audit?.admit();
    const request: ApiRequest = {
      pathParams: found.pathParams,
      query: search === "" ? NO_ARGUMENTS : new URLSearchParams(search),
      body: hasBody(req) ? await readJsonBody(req, res) : undefined,
    };
    const answer =
      (await this.#forwarded(method, req, request.body)) ??
      (method.kind === "job"
        ? await this.#parts.submit(method, request, { requester, key: keyOf(req, requester, request.body) })
        : await this.#direct(method, request, requester, res));
    trace.answer = answer;
    return answer;
  }

  /**
   * The leader's answer, where this master stands by and the request changes something. A job that reaches no leader
   * is taken here: the ledger keeps it for the next one.
   */
  async #forwarded(method: ResourceMethod, req: IncomingMessage, body: unknown): Promise<Answer | undefined> {
    const { forwarding, leader } = this.#parts;
    if (forwarding === undefined || leader.current() !== undefined) return undefined;
    if (req.method === "GET" || (method.kind === "direct" && READING_CALLS.has(method.call))) return undefined;
    try {
      const { method: name = "", url: target = "", headers } = req;
      const answer = await forwarding.forward({ method: name, target, headers, body });
      return method.kind === "job" && answer.status === 200 ? { ...answer, job: Number(answer.body) } : answer;
    } catch (error) {
      if (error instanceof NoLeader && method.kind === "job") return undefined;
      throw error;
    }
  }

  #direct(
    method: DirectMethod,
    request: ApiRequest,
    requester: Requester,
    res: ServerResponse,
  ): Answer | Promise<Answer> {
    const handle = this.#parts.handlers[method.call];
    if (handle === undefined) throw notAvailable(`${method.method} ${method.path}`);
    const { params, body } = parseDirectRequest(method, request);
    if (params.lock === true) throw new HttpError(400, "Queries take no locks: leave out the 'lock' parameter");
    return handle(new ServedRequest(this.#open, res, { params, body, requester, address: addressOf(res.req) }));
  }

  /** @throws HttpError 401, 429; Unavailable */
  async #requester(req: IncomingMessage, method: ResourceMethod): Promise<Requester> {
    if (method.kind === "direct" && method.proof === "body") return JOINING;
    const { access } = method;
    const header = req.headers.authorization;
    if (header === undefined && access === "none" && this.#parts.configStore.view.cluster.rapiAnonymousReads)
      return ANONYMOUS;
    const requester =
      header === undefined ? undefined : await this.#parts.authenticator.authenticate(header, addressOf(req));
    if (requester === undefined) throw unauthorized();
    return requester;
  }

  #refuse(ctx: Context, error: unknown): void {
    if (error instanceof ClientGone) {
      ctx.respond = false;
      ctx.req.destroy();
      return;
    }
    const { status, body } = errorAnswer(error);
    if (status === 401) ctx.set("WWW-Authenticate", CHALLENGE);
    if (error instanceof TooManyFailures || error instanceof NoLeader)
      ctx.set("Retry-After", String(error.retryAfterS));
    ctx.status = status;
    if (hasBody(ctx.req) && !ctx.req.complete) {
      ctx.respond = false;
      answerAndClose(ctx.req, ctx.res, body);
      return;
    }
    ctx.body = body;
  }

  #log(ctx: Context, path: string, trace: Trace, ms: number, failure: unknown): void {
    const { logger } = this.#parts;
    const method = ctx.req.method ?? "";
    const job = trace.answer?.job;
    const isWrite = job !== undefined || (method !== "GET" && trace.requester !== undefined);
    const status = failure instanceof ClientGone ? undefined : ctx.res.statusCode;
    // Of these the client is told nothing but that the log tells more.
    const isDefect = failure !== undefined && status === 500;
    if (!isWrite && !isDefect && !logger.isLevelEnabled("debug")) return;
    const line = {
      user: trace.requester?.name,
      method,
      path,
      status,
      ms: Math.round(ms * 10) / 10,
      job,
      err: isDefect ? failure : undefined,
      reason: failure instanceof GannetError ? failure.message : undefined,
    };
    if (isDefect) logger.error(line, "request failed unexpectedly");
    else if (isWrite) logger.info(line, "request");
    else logger.debug(line, "request");
  }

  #audit(ctx: Context, path: string, trace: Trace, failure: unknown): void {
    const { audit } = this.#parts;
    if (audit === undefined) return;
    const status = failure instanceof ClientGone ? null : ctx.res.statusCode;
    const record = recordOf({ ...trace, req: ctx.req, address: addressOf(ctx.req), path, status, failure });
    if (record !== undefined) audit.record(record);
  }
}

function addressOf(req: IncomingMessage): string {
  return req.socket.remoteAddress ?? "";
}

/** The body of an answer that the client has already is not asked for: it may have to be built. */
function succeed(ctx: Context, answer: Answer): void {
  const { headers, etag } = answer;
  if (etag !== undefined) {
    ctx.set("ETag", etag);
    if (isKnown(etag, ctx.req.headers["if-none-match"])) {
      ctx.status = 304;
      return;
    }
  }
  ctx.status = answer.status ?? 200;
  ctx.body = answer.body;
  if (headers !== undefined) ctx.set(headers);
}

/** Whether `If-None-Match` names this version (RFC 9110, section 13.1.2); weak and strong ones count as the same. */
function isKnown(etag: string, header: string | undefined): boolean {
  const versions = header?.split(",").map((version) => version.trim().replace(/^W\//, "")) ?? [];
  return versions.includes(etag) || versions.includes("*");
}

/** What the logs want to know of a request, filled in as it goes. */
interface Trace {
  requester: Requester | undefined;
  method: ResourceMethod | undefined;
  answer: Answer | undefined;
}

interface Target {
  readonly path: string;
  readonly search: string;
}

/** Requests that wait for something and want to know when nobody waits for them any more. */
class OpenRequests {
  readonly #controllers = new Set<AbortController>();
  #stopped = false;

  get stopped(): boolean {
    return this.#stopped;
  }

  stop(): void {
    this.#stopped = true;
    for (const controller of this.#controllers) controller.abort();
  }

  /** Aborted when the response is done or its connection broke, and when the server stops. */
  signalOf(response: ServerResponse): AbortSignal {
    const controller = new AbortController();
    if (this.#stopped || response.destroyed) controller.abort();
    this.#controllers.add(controller);
    response.once("close", () => {
      this.#controllers.delete(controller);
      controller.abort();
    });
    return controller.signal;
  }
}

class ServedRequest implements HandlerRequest {
  readonly params: HandlerRequest["params"];
  readonly body: unknown;
  readonly requester: Requester;
  readonly address: string;
  readonly #open: OpenRequests;
  readonly #response: ServerResponse;
  #signal: AbortSignal | undefined;

  constructor(open: OpenRequests, response: ServerResponse, request: Omit<HandlerRequest, "signal">) {
    this.params = request.params;
    this.body = request.body;
    this.requester = request.requester;
    this.address = request.address;
    this.#open = open;
    this.#response = response;
  }

  /** Made when first asked for: most requests are answered without it. */
  get signal(): AbortSignal {
    this.#signal ??= this.#open.signalOf(this.#response);
    return this.#signal;
  }
}

function keyOf(req: IncomingMessage, { name: user }: Requester, body: unknown): SubmissionKey | undefined {
  const { method = "", url: target = "", headers } = req;
  return submissionKeyOf(headers["idempotency-key"], { user, method, target, body });
}

function splitTarget(url: string): Target {
  const mark = url.indexOf("?");
  return mark < 0 ? { path: url, search: "" } : { path: url.slice(0, mark), search: url.slice(mark + 1) };
}

/**
 * Answer a request whose body has not been read, and end the connection. Closing at once would reset it, and
 * the answer could be lost on its way: what still comes is thrown away for a short while first.
 */
function answerAndClose(req: IncomingMessage, res: ServerResponse, body: Buffer): void {
  res.setHeader("Connection", "close");
  res.setHeader("Content-Length", body.length);
  if (req.headers.expect !== undefined) {
    res.end(body);
    return;
  }
  res.write(body);
  const end = () => {
    clearTimeout(timer);
    res.end();
  };
  const timer = setTimeout(end, LINGER_MS);
  req.once("end", end).once("close", end).resume();
}

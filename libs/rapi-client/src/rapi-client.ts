/** A client of the remote API whose requests and answers have the types of the declarations. */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { JobCanceled } from "@gannet/errors";
import {
  encodeJobRequest,
  encodeTarget,
  type HttpMethod,
  JOB_FINAL_STATUSES,
  type OpcodeDeclaration,
  type OpResult,
  type RawParams,
} from "@gannet/opcodes";
import { AnswerLost, Connection, type RapiAccess, type SentRequest } from "./connection.ts";
import type { DirectHttpMethod, DirectInput, DirectResult, OpcodeInput, PathsOf } from "./declared-types.ts";
import { decodeJobError } from "./job-error.ts";

export type RapiClientOptions = RapiAccess & {
  /** How long a request whose answer was lost is repeated, where that does no harm; 0: never. */
  readonly repeatMs?: number;
};

const DEFAULT_REPEAT_MS = 30_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface SubmitOptions extends CallOptions {
  /** Why, for the job's reason trail. */
  readonly reason?: string;
  /** What makes a repeated submission the same one, also from another process; absent: a new one. */
  readonly idempotencyKey?: string;
}

/** A job as `GET /2/jobs/:job_id` answers it. */
export type Job = DirectResult<"GET", "/2/jobs/:job_id", unknown>;

export class RapiClient implements Disposable {
  readonly jobs: Jobs;
  readonly #connection: Connection;
  readonly #repeatMs: number;

  constructor({ repeatMs = DEFAULT_REPEAT_MS, ...access }: RapiClientOptions) {
    this.#connection = new Connection(access);
    this.#repeatMs = repeatMs;
    this.jobs = new Jobs(this);
  }

  [Symbol.dispose](): void {
    this.#connection.close();
  }

  /**
   * Submit an opcode as a job: `submit(InstanceStartup, { instance_name: "web1" })`. When the answer is lost the
   * request is repeated with the same key, so that there is one job whatever happened.
   * @returns the job's number
   * @throws HttpError; AnswerLost; OpPrereqError where the remote API has no request for these parameters
   */
  async submit<D extends OpcodeDeclaration>(
    opcode: D,
    params: OpcodeInput<D>,
    { reason, signal, idempotencyKey = randomUUID() }: SubmitOptions = {},
  ): Promise<number> {
    const request = encodeJobRequest(opcode, params as RawParams, reason);
    const headers = { "Idempotency-Key": idempotencyKey };
    return (await this.#persist({ ...request, headers, ...(signal && { signal }) })) as number;
  }

  /**
   * Submit an opcode, wait until its job is over, and answer its result.
   * @throws what the job failed with, as the taxonomy's class; what `submit` throws
   */
  async run<D extends OpcodeDeclaration>(
    opcode: D,
    params: OpcodeInput<D>,
    options: SubmitOptions = {},
  ): Promise<OpResult<D>> {
    const job = await this.jobs.wait(await this.submit(opcode, params, options), options);
    return this.jobs.resultOf(job) as OpResult<D>;
  }

  get<Path extends PathsOf<"GET">, const Input extends DirectInput<"GET", Path>>(
    path: Path,
    ...[input, options]: CallArguments<"GET", Path, Input>
  ): Promise<DirectResult<"GET", Path, Input>> {
    return this.call("GET", path, input, options) as Promise<DirectResult<"GET", Path, Input>>;
  }

  put<Path extends PathsOf<"PUT">, const Input extends DirectInput<"PUT", Path>>(
    path: Path,
    ...[input, options]: CallArguments<"PUT", Path, Input>
  ): Promise<DirectResult<"PUT", Path, Input>> {
    return this.call("PUT", path, input, options) as Promise<DirectResult<"PUT", Path, Input>>;
  }

  post<Path extends PathsOf<"POST">, const Input extends DirectInput<"POST", Path>>(
    path: Path,
    ...[input, options]: CallArguments<"POST", Path, Input>
  ): Promise<DirectResult<"POST", Path, Input>> {
    return this.call("POST", path, input, options) as Promise<DirectResult<"POST", Path, Input>>;
  }

  delete<Path extends PathsOf<"DELETE">, const Input extends DirectInput<"DELETE", Path>>(
    path: Path,
    ...[input, options]: CallArguments<"DELETE", Path, Input>
  ): Promise<DirectResult<"DELETE", Path, Input>> {
    return this.call("DELETE", path, input, options) as Promise<DirectResult<"DELETE", Path, Input>>;
  }

  /** A method that is known at run time only: what `get`, `put`, `post` and `delete` do, without their types. */
  async call(method: HttpMethod, path: string, input: unknown = {}, { signal }: CallOptions = {}): Promise<unknown> {
    const { query = {}, body, ...pathParams } = input as RawParams;
    const target = encodeTarget(path, pathParams, query as RawParams);
    const request: SentRequest = { method, target, body, ...(signal && { signal }) };
    // What changes something and has no key is sent once: it may have been done.
    return await (method === "GET" ? this.#persist(request) : this.#connection.ask(request));
  }

  /** Send until there is an answer, whatever it is. */
  async #persist(request: SentRequest): Promise<unknown> {
    const deadline = performance.now() + this.#repeatMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        return await this.#connection.ask(request);
      } catch (error) {
        if (!(error instanceof AnswerLost) || performance.now() + pauseMs >= deadline) throw error;
      }
      await delay(pauseMs, undefined, { ...(request.signal && { signal: request.signal }) });
    }
  }
}

/** The input may be left out where nothing in it is required. */
type CallArguments<Method extends DirectHttpMethod, Path extends string, Input> =
  Record<never, never> extends DirectInput<Method, Path>
    ? [input?: Input, options?: CallOptions]
    : [input: Input, options?: CallOptions];

const FINAL: ReadonlySet<string> = new Set(JOB_FINAL_STATUSES);

/** What is done with jobs beyond a single request. */
class Jobs {
  readonly #client: RapiClient;

  constructor(client: RapiClient) {
    this.#client = client;
  }

  get(id: number, options?: CallOptions): Promise<Job> {
    return this.#client.get("/2/jobs/:job_id", { job_id: id }, options);
  }

  /** Ask for a job that has not begun to be canceled: whether it was, and why or why not. */
  cancel(id: number): Promise<readonly [boolean, string]> {
    return this.#client.delete("/2/jobs/:job_id", { job_id: id });
  }

  /**
   * Wait until a job is over. The user needs the option `write`, which the resource for it asks.
   * @throws HttpError 404 when there is no such job
   */
  async wait(id: number, { signal }: CallOptions = {}): Promise<Job> {
    const options = { ...(signal && { signal }) };
    for (;;) {
      const job = await this.get(id, options);
      if (FINAL.has(job.status)) return job;
      const body = { fields: ["status"], previous_job_info: [job.status], previous_log_serial: lastSerialOf(job) };
      await this.#client.get("/2/jobs/:job_id/wait", { job_id: id, body }, options);
    }
  }

  /**
   * What the last opcode of a job that is over ended with.
   * @throws the error of the opcode that failed, as the taxonomy's class
   */
  resultOf({ id, status, opstatus, opresult }: Job): unknown {
    if (status === "success") return opresult.at(-1);
    const failed = opstatus.findIndex((one) => one === "error" || one === "canceled");
    if (status === "canceled" && opresult[failed] === null) throw new JobCanceled(`Job ${id} was canceled`);
    throw decodeJobError(opresult[failed]);
  }
}

/** Log entries up to here are no news. */
function lastSerialOf({ oplog }: Job): number | null {
  return oplog.flat().at(-1)?.[0] ?? null;
}

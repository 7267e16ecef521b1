/**
 * A client of the remote API for tests: one request, or a job until its end. Each answer is compared with the API's own
 * description, whatever the test looks at.
 */
import { request } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { openApiDocument } from "@gannet/opcodes";
import { documentedAnswers } from "@gannet/testing";

const faultsOf = documentedAnswers(openApiDocument({ version: "tested" }));
/** Above every entry of a job's log. */
const NO_LOG_WANTED = 2 ** 31;

/** @throws Error where an answer is not as the OpenAPI document says */
export function requireDocumented(method: string, target: string, { status, body }: RapiAnswer): void {
  if (body === undefined) return;
  const faults = faultsOf({ method, target, status, json: body });
  if (faults.length > 0) throw new Error(`Not as the OpenAPI document says: ${faults.join("; ")}`);
}

export interface RapiAnswer {
  readonly status: number;
  /** The parsed JSON body. */
  readonly body: unknown;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly user?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly raw?: string | Buffer;
  /** Of another master than the launcher's. */
  readonly port?: number;
}

export interface FinishedJob {
  readonly id: number;
  readonly status: string;
  readonly opresult: readonly unknown[];
  readonly opstatus: readonly string[];
  readonly oplog: readonly (readonly unknown[])[];
}

/** Where a remote API is, and who asks. */
export interface RapiAccess {
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

/** Asks a master on 127.0.0.1. */
export class RapiClient {
  readonly port: number;
  readonly user: string;
  readonly password: string;

  constructor({ port, user, password }: RapiAccess) {
    this.port = port;
    this.user = user;
    this.password = password;
  }

  /** Whether nobody will answer any more, so that waiting for an answer has no end. */
  protected isGone(): boolean {
    return false;
  }

  /** One request of the remote API; an answer that is not documented is an error. The certificate is the cluster's own, which nothing here knows. */
  rapi(method: string, resource: string, options: RequestOptions = {}): Promise<RapiAnswer> {
    const payload = options.raw ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: "127.0.0.1",
          port: options.port ?? this.port,
          method,
          path: resource,
          rejectUnauthorized: false,
          auth: options.user ?? `${this.user}:${this.password}`,
          headers: {
            ...(payload === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(payload) }),
            ...options.headers,
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          answer.on("data", (chunk: Buffer) => chunks.push(chunk));
          answer.on("error", reject);
          answer.on("end", () => {
            const text = Buffer.concat(chunks).toString();
            try {
              const told = { status: answer.statusCode ?? 0, body: text === "" ? undefined : JSON.parse(text) };
              requireDocumented(method, resource, told);
              resolve(told);
            } catch (error) {
              reject(error);
            }
          });
        },
      );
      call.on("error", reject);
      call.end(payload);
    });
  }

  /** Submit, and wait until the job is final. */
  async job(method: string, resource: string, body?: unknown): Promise<FinishedJob> {
    const submitted = await this.rapi(method, resource, body === undefined ? {} : { body });
    if (submitted.status !== 200 || typeof submitted.body !== "number")
      throw new Error(`${method} ${resource}: ${submitted.status} ${JSON.stringify(submitted.body)}`);
    return await this.finished(submitted.body);
  }

  /** Submit, and wait until the job has succeeded. @throws Error with its results when it has not */
  async succeed(method: string, resource: string, body?: unknown): Promise<FinishedJob> {
    const job = await this.job(method, resource, body);
    if (job.status === "success") return job;
    throw new Error(`${method} ${resource}: job ${job.id} ended as ${job.status}: ${JSON.stringify(job.opresult)}`);
  }

  /** Wait until a job is final, by the resource that is made for it; a master that is away is waited for too. */
  async finished(id: number): Promise<FinishedJob> {
    for (;;) {
      try {
        const { status, body } = await this.rapi("GET", `/2/jobs/${id}`);
        const job = body as FinishedJob;
        if (status === 200 && ["success", "error", "canceled"].includes(job.status)) return job;
        // Without a serial every wait for a job that has said something is answered at once.
        const fields = { fields: ["status"], previous_job_info: [job.status], previous_log_serial: NO_LOG_WANTED };
        if (status === 200) await this.rapi("GET", `/2/jobs/${id}/wait`, { body: fields });
        else await delay(100);
      } catch (error) {
        if (this.isGone()) throw error;
        await delay(100);
      }
    }
  }
}

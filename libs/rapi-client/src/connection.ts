/** Requests and answers over HTTPS, with the cluster's own authority and a user's credentials. */
import { Agent, request } from "node:https";
import { HttpError, Unavailable } from "@gannet/errors";

/** Who asks: a user with a password, or whoever has a token. */
export type RapiCredentials = { readonly user: string; readonly password: string } | { readonly token: string };

export type RapiAccess = RapiCredentials & RapiAddress;

/** Where the remote API is, and whose certificates it may have. */
export interface RapiAddress {
  readonly host: string;
  readonly port: number;
  /** PEM of the only authority whose certificates are trusted; absent: those that the system trusts. */
  readonly ca?: string | Buffer;
  /** The name that the certificate must have; absent: the host. */
  readonly serverName?: string;
  /** Longest silence within one request; above the server's longest wait for a job. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 60_000;
/** Far above the largest list of a cluster at its greatest. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;

export interface SentRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  /** Sent as JSON; undefined for none. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** No answer came, or not all of it: what the request did is unknown. */
export class AnswerLost extends Unavailable {}

/** Whoever answers there cannot show that it is the cluster. The request was not sent. */
export class NotTrusted extends Unavailable {}

/** OpenSSL's and Node's words for certificates that prove nothing. */
const CERTIFICATE_FAULT = /^(CERT_|ERR_TLS_CERT|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|INVALID_CA|HOSTNAME_MISMATCH)/;

export class Connection {
  readonly #access: RapiAccess;
  readonly #agent: Agent;

  constructor(access: RapiAccess) {
    this.#access = access;
    this.#agent = new Agent({
      keepAlive: true,
      minVersion: "TLSv1.2",
      ...(access.ca === undefined ? {} : { ca: access.ca }),
      ...(access.serverName === undefined ? {} : { servername: access.serverName }),
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  /**
   * One request, sent once.
   * @returns the parsed answer
   * @throws HttpError with the answer's status where it is a refusal or a failure; AnswerLost
   */
  async ask({ method, target, body, headers = {}, signal }: SentRequest): Promise<unknown> {
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const { status, text } = await this.#exchange(method, target, payload, headers, signal);
    const value = parsed(text);
    if (status === 200 && value !== undefined) return value;
    if (status === 200) throw new AnswerLost(`${method} ${target} was answered with something that is no JSON`);
    throw new HttpError(status, messageOf(value) ?? `${method} ${target} was answered ${status}`);
  }

  #exchange(
    method: string,
    target: string,
    payload: string | undefined,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly status: number; readonly text: string }> {
    const { host, port, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#access;
    return new Promise((resolve, reject) => {
      const lost = (error: NodeJS.ErrnoException) => {
        if (signal?.aborted) reject(signal.reason as Error);
        else if (CERTIFICATE_FAULT.test(error.code ?? ""))
          reject(
            new NotTrusted(`The certificate of ${host}:${port} is not trusted: ${firstPart(error.message)}`, {
              cause: error,
            }),
          );
        else
          reject(
            new AnswerLost(`${host}:${port} did not answer ${method} ${target}: ${error.message}`, { cause: error }),
          );
      };
      const sending = request(
        {
          agent: this.#agent,
          host,
          port,
          method,
          path: target,
          timeout: timeoutMs,
          ...(signal === undefined ? {} : { signal }),
          headers: {
            Accept: "application/json",
            Authorization: authorizationOf(this.#access),
            ...(payload === undefined
              ? {}
              : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(payload) }),
            ...headers,
          },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > MAX_ANSWER_BYTES)
              answer.destroy(new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
            else chunks.push(chunk);
          });
          answer.on("error", lost);
          answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
        },
      );
      sending.on("timeout", () => sending.destroy(new Error(`silent for ${timeoutMs} ms`)));
      sending.on("error", lost);
      sending.end(payload);
    });
  }
}

/** Behind a semicolon Node gives advice on its own options. */
function firstPart(message: string): string {
  return message.split(";")[0] ?? message;
}

/** RFC 7617 and RFC 6750. */
function authorizationOf(credentials: RapiCredentials): string {
  if ("token" in credentials) return `Bearer ${credentials.token}`;
  return `Basic ${Buffer.from(`${credentials.user}:${credentials.password}`).toString("base64")}`;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Ganeti's explanation of any 404, which says no more than the message. */
const NOTHING_MORE = "Nothing matches the given URI";

/** Of what is not found the message says nothing else, and the explanation may. */
function messageOf(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null || !("message" in body) || typeof body.message !== "string")
    return undefined;
  const { message } = body;
  if (message !== "Not Found" || !("explain" in body) || typeof body.explain !== "string") return message;
  return body.explain === NOTHING_MORE ? message : `${message}: ${body.explain}`;
}

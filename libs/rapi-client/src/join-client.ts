/**
 * A machine that joins a cluster: it knows the cluster by the fingerprint of the authority in its token, and says nothing
 * before it has seen that authority's certificate on the other side.
 */
import { X509Certificate } from "node:crypto";
import { request } from "node:https";
import { checkServerIdentity, connect, type DetailedPeerCertificate, type PeerCertificate } from "node:tls";
import { ConfigurationError, HttpError, OpPrereqError, Unavailable } from "@gannet/errors";
import {
  JOIN_SERVER_NAME,
  type JoinAnswer,
  type JoinBody,
  type JoinCompletion,
  joinAnswer,
  joinCompletionAnswer,
  parseJoinToken,
} from "@gannet/opcodes";

const TIMEOUT_MS = 30_000;
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_CHAIN = 10;
/** The role in the certificate of a remote API (@gannet/pki): what a node may show is no remote API's. */
const RAPI_UNIT = "rapi";
const STANDARD_PORT = 5080;

export class JoinClient {
  readonly #place: Place;
  readonly #token: string;
  readonly #authority: string;

  private constructor(place: Place, token: string, authority: string) {
    this.#place = place;
    this.#token = token;
    this.#authority = authority;
  }

  /**
   * Find out whether the cluster at `url` is the one that the token is of. The token is not sent.
   * @throws OpPrereqError (wrong_input) on a malformed token or URL; ConfigurationError when it is another cluster; Unavailable
   */
  static async open(url: string, token: string): Promise<JoinClient> {
    const parsed = parseJoinToken(token);
    if (parsed === undefined)
      throw new OpPrereqError(
        "This is no token for joining; it begins with gannet-join. and is one line",
        "wrong_input",
      );
    const place = placeOf(url);
    return new JoinClient(place, token.trim(), await authorityAt(place, parsed.fingerprint));
  }

  /** PEM of the authority that the token names. */
  get authority(): string {
    return this.#authority;
  }

  /** Uses the token up. @throws HttpError when it is refused; Unavailable when no answer came */
  async join(body: Omit<JoinBody, "token" | "rapi_csr" | "redis_csr"> & Partial<JoinBody>): Promise<JoinAnswer> {
    return joinAnswer.parse(await this.#post("/2/join", { ...body, token: this.#token }));
  }

  /** Tell that the agent runs; asked again, how the node's way into the configuration goes. */
  async complete(): Promise<JoinCompletion> {
    return joinCompletionAnswer.parse(await this.#post("/2/join/complete", { token: this.#token }));
  }

  async #post(path: string, body: unknown): Promise<unknown> {
    const payload = JSON.stringify(body);
    const { status, text } = await this.#exchange(path, payload);
    const answer = parsedJson(text);
    if (status === 200 && answer !== undefined) return answer;
    const message = (answer as { readonly message?: unknown } | undefined)?.message;
    throw new HttpError(status, typeof message === "string" ? message : `The cluster answered ${status}`);
  }

  #exchange(path: string, payload: string): Promise<{ readonly status: number; readonly text: string }> {
    const { host, port } = this.#place;
    return new Promise((resolve, reject) => {
      const lost = (error: Error) => reject(new Unavailable(`${host}:${port} did not answer: ${error.message}`));
      const sending = request(
        {
          ...{ agent: false, host, port, method: "POST", path, timeout: TIMEOUT_MS, minVersion: "TLSv1.2" },
          ca: this.#authority,
          servername: JOIN_SERVER_NAME,
          checkServerIdentity: (_host, certificate) => notRemoteApi(certificate),
          headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(payload) },
        },
        (answer) => {
          const chunks: Buffer[] = [];
          let size = 0;
          answer.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > MAX_ANSWER_BYTES) answer.destroy(new Error("the answer is too large"));
            else chunks.push(chunk);
          });
          answer.on("error", lost);
          answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
        },
      );
      sending.on("timeout", () => sending.destroy(new Error(`silent for ${TIMEOUT_MS} ms`)));
      sending.on("error", lost);
      sending.end(payload);
    });
  }
}

interface Place {
  readonly host: string;
  readonly port: number;
}

function placeOf(url: string): Place {
  const parsed = URL.parse(url);
  if (parsed?.protocol !== "https:" || parsed.hostname === "" || !["", "/"].includes(parsed.pathname))
    throw new OpPrereqError(`${url} is not the cluster's remote API: https://HOST:${STANDARD_PORT}`, "wrong_input");
  const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
  return { host, port: parsed.port === "" ? STANDARD_PORT : Number(parsed.port) };
}

/** The certificate of this fingerprint that the other side shows above its own. Nothing is believed of it yet. */
function authorityAt({ host, port }: Place, fingerprint: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      servername: JOIN_SERVER_NAME,
      rejectUnauthorized: false,
      minVersion: "TLSv1.2",
    });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(TIMEOUT_MS, () => fail(new Unavailable(`${host}:${port} is silent`)));
    socket.once("error", (error) => fail(new Unavailable(`${host}:${port} cannot be reached: ${error.message}`)));
    socket.once("secureConnect", () => {
      const found = chainOf(socket.getPeerCertificate(true)).find((certificate) => digest(certificate) === fingerprint);
      if (found === undefined)
        fail(
          new ConfigurationError(
            `${host}:${port} is not the cluster that this token is of, or its authority has changed since: nothing was sent to it`,
          ),
        );
      else {
        socket.destroy();
        resolve(found.toString());
      }
    });
  });
}

function chainOf(peer: DetailedPeerCertificate): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  let certificate: DetailedPeerCertificate | undefined = peer;
  // Where nothing is above it, an authority of its own is above itself.
  while (certificate?.raw !== undefined && chain.length < MAX_CHAIN) {
    chain.push(new X509Certificate(certificate.raw));
    certificate = certificate.issuerCertificate === certificate ? undefined : certificate.issuerCertificate;
  }
  return chain;
}

function digest({ fingerprint256 }: X509Certificate): string {
  return fingerprint256.replaceAll(":", "").toLowerCase();
}

/** The name and the role of whoever lets machines join. */
function notRemoteApi(certificate: PeerCertificate): Error | undefined {
  const problem = checkServerIdentity(JOIN_SERVER_NAME, certificate);
  if (problem !== undefined) return problem;
  const units = [certificate.subject?.OU ?? []].flat();
  return units.length === 1 && units[0] === RAPI_UNIT ? undefined : new Error("its certificate is not a remote API's");
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

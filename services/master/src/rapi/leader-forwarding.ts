/**
 * What only the leader does, asked of a master that stands by: the request goes on to the leader's own remote API and
 * its answer comes back. The leader asks for the user's credentials again; no master speaks for a user.
 */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { checkServerIdentity } from "node:tls";
import { Unavailable } from "@gannet/errors";
import type { LeaderElection } from "@gannet/locking";
import { z } from "zod";
import type { Answer } from "./handlers.ts";

/** Where a leader's remote API is reached, as it publishes it beside its lease. */
const contact = z.object({
  host: z.string(),
  port: z.int(),
  /** PEM of the certificate that it shows: an operator's own one is not signed by the cluster's authority. */
  certificate: z.string(),
});
export type Contact = z.infer<typeof contact>;

export function contactText(where: Contact): string {
  return JSON.stringify(where);
}

export function parseContact(text: string): Contact | undefined {
  try {
    return contact.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** A request as the pipeline has read it. */
export interface ForwardedRequest {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Parsed; undefined when there was none. */
  readonly body: unknown;
}

export interface LeaderForwardingParts {
  readonly election: Pick<LeaderElection, "current">;
  /** This master's name in the election. */
  readonly self: string;
  /** PEM of the cluster's authority. */
  readonly ca: () => string | Buffer;
}

/** Nobody leads at this moment, or the leader is not reached: the request was not carried out. */
export class NoLeader extends Unavailable {
  /** An election takes some seconds. */
  readonly retryAfterS = 2;
}

/** Set by the master that passes a request on, which nobody passes on again. */
export const FORWARDED_HEADER = "x-gannet-forwarded-by";
/** What a client has said and the leader must hear. */
const PASSED_ON = ["authorization", "idempotency-key", "user-agent"] as const;
/** What the leader has said and the client must hear. */
const PASSED_BACK = ["content-type", "retry-after", "www-authenticate"] as const;
const CONNECT_TIMEOUT_MS = 2_000;
/** Planned changes of the leader are answered when they are done. */
const ANSWER_TIMEOUT_MS = 120_000;
const MOST_BYTES = 32 * 1024 * 1024;

export class LeaderForwarding {
  readonly #parts: LeaderForwardingParts;

  constructor(parts: LeaderForwardingParts) {
    this.#parts = parts;
  }

  /**
   * Ask the leader.
   * @throws NoLeader when the request has not left this machine; Unavailable when it has, and no answer came
   */
  async forward(request: ForwardedRequest): Promise<Answer> {
    if (request.headers[FORWARDED_HEADER] !== undefined)
      throw new NoLeader("The master that was taken for the leader does not lead; try again");
    const leader = await this.#parts.election.current();
    const where = leader === undefined || leader.holder === this.#parts.self ? undefined : parseContact(leader.contact);
    if (leader === undefined || where === undefined) throw new NoLeader("No master leads the cluster now; try again");
    return await this.#ask(leader.holder, where, request);
  }

  async #ask(holder: string, where: Contact, { method, target, headers, body }: ForwardedRequest): Promise<Answer> {
    const text = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const passedOn = PASSED_ON.flatMap((name) => (headers[name] === undefined ? [] : [[name, headers[name]] as const]));
    const options: RequestOptions = {
      method,
      path: target,
      host: where.host,
      port: where.port,
      agent: false,
      headers: {
        ...Object.fromEntries(passedOn),
        [FORWARDED_HEADER]: this.#parts.self,
        ...(text === undefined ? {} : { "content-type": "application/json", "content-length": text.length }),
      },
      ca: [this.#parts.ca(), where.certificate],
      allowPartialTrustChain: true,
      minVersion: "TLSv1.2",
      // The very certificate that the leader has published, or one of the cluster's for its address.
      checkServerIdentity: (host, shown) =>
        isSame(where.certificate, shown.raw) ? undefined : checkServerIdentity(host, shown),
    };
    const outgoing = httpsRequest(options);
    let hasLeft = false;
    const connecting = setTimeout(() => outgoing.destroy(new Error("no connection in time")), CONNECT_TIMEOUT_MS);
    const answering = setTimeout(() => outgoing.destroy(new Error("no answer in time")), ANSWER_TIMEOUT_MS);
    try {
      outgoing.once("socket", (socket) =>
        socket.once("secureConnect", () => {
          clearTimeout(connecting);
          hasLeft = true;
          outgoing.end(text);
        }),
      );
      const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
      return await answerOf(incoming);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      if (!hasLeft) throw new NoLeader(`The leader, ${holder}, cannot be reached from here: ${reason}`, { cause });
      throw new Unavailable(
        `The leader, ${holder}, was asked and its answer is lost (${reason}): look whether it was done, or repeat the ` +
          "request with its Idempotency-Key",
        { cause },
      );
    } finally {
      clearTimeout(connecting);
      clearTimeout(answering);
      outgoing.destroy();
    }
  }
}

async function answerOf(incoming: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MOST_BYTES) throw new Error("its answer is too large");
    chunks.push(chunk);
  }
  const headers = PASSED_BACK.flatMap((name) => {
    const value = incoming.headers[name];
    return typeof value === "string" ? [[name, value] as const] : [];
  });
  return { status: incoming.statusCode ?? 502, body: Buffer.concat(chunks), headers: Object.fromEntries(headers) };
}

function isSame(pem: string, raw: Buffer): boolean {
  const [, first = ""] = /-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----/.exec(pem) ?? [];
  return Buffer.from(first, "base64").equals(raw);
}

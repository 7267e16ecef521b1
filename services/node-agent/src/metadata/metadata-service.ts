/**
 * The HTTP service at which guests ask their node for what concerns themselves (spec/os-iallocator-hooks.json,
 * `metadata_daemon`). It listens on one address of the node alone. Who asks is known by the source address: an answer
 * goes only where the node's route for that address leads, to the tap of the guest that has it.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { pipeline } from "node:stream/promises";
import type { Logger } from "@gannet/telemetry";
import { isErrno } from "../errno.ts";
import { type Answer, type AnswerSources, RESOURCES } from "./answers.ts";
import { type GuestMetadataParts, GuestMetadataTable } from "./guest-metadata.ts";

export interface MetadataSettings {
  /** Where guests find it: IPv4. */
  readonly address: string;
  readonly port: number;
  /** In which to keep what guests may read (`GuestMetadataTable`). */
  readonly folder: string;
  readonly packageFolder?: string | undefined;
  /** Give this node the address, where it has it not yet. */
  readonly claimAddress: (address: string) => Promise<void>;
}

export type MetadataServiceParts = MetadataSettings &
  Pick<GuestMetadataParts, "hypervisors"> &
  Pick<AnswerSources, "os"> & {
    readonly logger: Logger;
    readonly limits?: Partial<typeof LIMITS>;
  };

/** Guests are not trusted: none may hold up the agent, or what the others are answered. */
const LIMITS = {
  /** For the head of a request. */
  headersMs: 5_000,
  /** For a request as a whole. */
  requestMs: 10_000,
  /** Without a byte in either direction. */
  idleMs: 30_000,
  headerBytes: 8 * 1024,
  bodyBytes: 64 * 1024,
  connections: 256,
  connectionsOfOneAddress: 8,
};
/** Between attempts to listen. */
const RETRY_MS = 30_000;

export class MetadataService {
  readonly guests: GuestMetadataTable;
  readonly #parts: MetadataServiceParts;
  readonly #limits: typeof LIMITS;
  readonly #server: Server;
  readonly #connections = new Map<string, number>();
  #attempt: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;

  private constructor(parts: MetadataServiceParts, guests: GuestMetadataTable) {
    this.#parts = parts;
    this.guests = guests;
    this.#limits = { ...LIMITS, ...parts.limits };
    const { headersMs, requestMs, idleMs, headerBytes, connections } = this.#limits;
    this.#server = createServer({
      headersTimeout: headersMs,
      requestTimeout: requestMs,
      connectionsCheckingInterval: Math.min(headersMs, 1_000),
      maxHeaderSize: headerBytes,
    });
    this.#server.setTimeout(idleMs);
    this.#server.maxConnections = connections;
    this.#server.on("connection", (socket) => this.#count(socket));
    this.#server.on("request", (request, response) => void this.#serve(request, response));
  }

  /** Takes requests when it resolves, unless the node has not got the address: then it goes on trying. */
  static async start(parts: MetadataServiceParts): Promise<MetadataService> {
    const service = new MetadataService(parts, await GuestMetadataTable.open(parts));
    service.#attempt = service.#listen();
    await service.#attempt;
    return service;
  }

  /** Undefined while it does not listen. */
  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === "object" ? address?.port : undefined;
  }

  async close(): Promise<void> {
    await this.#attempt;
    clearTimeout(this.#retry);
    if (this.#server.listening) {
      const closed = once(this.#server, "close");
      this.#server.close();
      this.#server.closeAllConnections();
      await closed;
    }
    await this.guests.close();
  }

  /** Without it guests are worse off, but what keeps it from listening is no reason for the agent not to run. */
  async #listen(): Promise<void> {
    const { address, port, claimAddress, logger } = this.#parts;
    try {
      await this.#bind().catch(async (error: unknown) => {
        if (!isErrno(error, "EADDRNOTAVAIL")) throw error;
        await claimAddress(address);
        await this.#bind();
      });
      logger.info({ address, port: this.port }, "guests can ask for their metadata");
    } catch (error) {
      logger.warn({ address, port, error: String(error) }, "guests cannot ask for their metadata; trying again");
      this.#retry = setTimeout(() => {
        this.#attempt = this.#listen();
      }, RETRY_MS).unref();
    }
  }

  async #bind(): Promise<void> {
    const { address: host, port } = this.#parts;
    // Rejects at an error.
    const listening = once(this.#server, "listening");
    this.#server.listen({ host, port, exclusive: true });
    await listening;
  }

  #count(socket: Socket): void {
    const address = socket.remoteAddress;
    const others = address === undefined ? undefined : (this.#connections.get(address) ?? 0);
    if (address === undefined || others === undefined || others >= this.#limits.connectionsOfOneAddress) {
      socket.destroy();
      return;
    }
    this.#connections.set(address, others + 1);
    socket.once("close", () => {
      const left = (this.#connections.get(address) ?? 1) - 1;
      if (left > 0) this.#connections.set(address, left);
      else this.#connections.delete(address);
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Connections cost the guest little and the node more.
    response.setHeader("connection", "close");
    try {
      await this.#answer(request, response);
    } catch (error) {
      if (!request.destroyed && !response.destroyed)
        this.#parts.logger.error({ err: error }, "metadata request failed");
      if (response.headersSent) response.destroy();
      else refuse(response, 500, "Internal error");
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const guest = this.guests.at(request.socket.remoteAddress ?? "");
    if (guest === undefined) return refuse(response, 404, "Nothing is known of a guest with this address");
    const [place = ""] = (request.url ?? "").split("?", 1);
    const resource = RESOURCES.get(place);
    if (resource === undefined) return refuse(response, 404, "Resource not found");
    const methods = resource.method === "GET" ? ["GET", "HEAD"] : [resource.method];
    if (!methods.includes(request.method ?? "")) {
      response.setHeader("allow", methods.join(", "));
      return refuse(response, 405, "Method not allowed");
    }
    if (!(await readsWithin(request, this.#limits.bodyBytes))) return refuse(response, 413, "The request is too large");
    const answer = await resource.answer(guest, this.#parts);
    this.#parts.logger.debug({ guest: guest.name, place, found: answer !== undefined }, "metadata asked for");
    if (answer === undefined) return refuse(response, 404, "Resource not found");
    await send(response, answer, request.method === "HEAD");
  }
}

/** Read the whole body, and forget it. False as soon as it is larger. */
async function readsWithin(request: IncomingMessage, limitBytes: number): Promise<boolean> {
  let bytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > limitBytes) return false;
  }
  return true;
}

async function send(response: ServerResponse, answer: Answer, isHead: boolean): Promise<void> {
  if ("text" in answer) {
    const headers = { "content-type": answer.type, "content-length": Buffer.byteLength(answer.text) };
    response.writeHead(200, headers).end(answer.text);
    return;
  }
  await using file = answer.file;
  const { sizeBytes } = answer;
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": sizeBytes });
  if (isHead || sizeBytes === 0) response.end();
  // What is written behind its end meanwhile is not announced.
  else await pipeline(file.createReadStream({ end: sizeBytes - 1, autoClose: false }), response);
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain", "content-length": Buffer.byteLength(text) }).end(text);
}

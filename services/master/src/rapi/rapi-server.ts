/** The remote API's HTTPS server: TLS, bounds on what clients may do, start and stop. */
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { createSecureContext, type SecureContext, type TlsOptions } from "node:tls";
import { JOIN_SERVER_NAME } from "@gannet/opcodes";
import Koa from "koa";
import { Authenticator } from "./authenticator.ts";
import { ClusterRows } from "./cluster-rows.ts";
import { directHandlers } from "./direct/direct-handlers.ts";
import { JobRows } from "./job-rows.ts";
import { type RootPolicy, submitJob } from "./job-submission.ts";
import { JobWaiters } from "./job-waiters.ts";
import { DEFAULT_LOGIN_LIMITS, type LoginLimits } from "./login-limiter.ts";
import type { RapiDeps, TlsIdentity } from "./rapi-deps.ts";
import { RequestPipeline } from "./request-pipeline.ts";
import { DEFAULT_FILE_ROOTS } from "./rights.ts";
import { TokenUses } from "./token-uses.ts";
import { MAX_HEADER_BYTES, type ParserError, refuseUnparsed } from "./unparsed-requests.ts";
import { UsersFile } from "./users-file.ts";

/** Bounds on clients, in milliseconds where it is a time. */
export interface RapiLimits {
  /** From a connection's first byte to the end of a request's headers, and of the TLS handshake. */
  readonly headersMs: number;
  /** To the end of a request's body. */
  readonly requestMs: number;
  /** Between two requests of a connection. */
  readonly idleMs: number;
  /** How long a wait for a job's change lasts before it is answered null (spec/rapi.json, `special.wait`). */
  readonly waitMs: number;
  /** Without a byte moving in either direction; above `waitMs`. */
  readonly stallMs: number;
  readonly connections: number;
}

const DEFAULT_LIMITS: RapiLimits = {
  headersMs: 10_000,
  requestMs: 60_000,
  idleMs: 60_000,
  waitMs: 10_000,
  stallMs: 120_000,
  connections: 10_000,
};

export interface RapiServerOptions extends Partial<RootPolicy> {
  /** The only address it listens on. */
  readonly host: string;
  readonly port: number;
  readonly limits?: Partial<RapiLimits>;
  readonly loginLimits?: LoginLimits;
  /** Listens at the same place until this one is about to: nobody who asks meanwhile finds the door shut. */
  readonly standIn?: { stop(): Promise<void> } | undefined;
}

export interface RapiServer {
  /** Where it listens, once started. */
  readonly address: AddressInfo;
  /** Requests that wait for a job to change, now. */
  readonly waiting: number;
  /** Use another certificate for connections from now on. */
  setTls(tls: TlsIdentity): void;
  /** Take no more connections, answer what is under way, cut what is left after `graceMs`. */
  stop(options?: { readonly graceMs?: number }): Promise<void>;
}

/** Start the remote API. @throws Error when it cannot listen */
export async function createRapiServer(deps: RapiDeps, options: RapiServerOptions): Promise<RapiServer> {
  const logger = deps.logger.child({ part: "rapi" });
  const limits: RapiLimits = { ...DEFAULT_LIMITS, ...options.limits };
  using setUp = new DisposableStack();
  const users = new UsersFile(deps.usersFile, logger);
  setUp.defer(() => users.stop());
  await users.start();
  const rows = new ClusterRows(deps);
  setUp.defer(() => rows.close());
  const jobRows = new JobRows(deps.ledger);
  setUp.defer(() => jobRows.close());
  const waiters = new JobWaiters(deps.ledger);
  setUp.defer(() => waiters.close());
  const { rootParameters = "root", fileRoots = DEFAULT_FILE_ROOTS, loginLimits = DEFAULT_LOGIN_LIMITS } = options;
  const tokenUses = new TokenUses({ ...deps, logger });
  const authenticator = new Authenticator({
    users,
    configStore: deps.configStore,
    limits: loginLimits,
    clock: deps.clock,
    logger,
    onTokenUse: (id) => tokenUses.used(id),
  });
  const jobParts = { ...deps, rootParameters, fileRoots };
  const pipeline = new RequestPipeline({
    handlers: directHandlers({ ...deps, rows, jobRows, waiters, waitMs: limits.waitMs, rootParameters, fileRoots }),
    submit: (method, request, submission) => submitJob(jobParts, method, request, submission),
    authenticator,
    audit: deps.audit,
    onRequestEnd: deps.onRequestEnd,
    leader: deps.leader,
    forwarding: deps.forwarding,
    configStore: deps.configStore,
    refusal: deps.refusal,
    logger,
  });

  const app = new Koa();
  app.use((ctx) => pipeline.serve(ctx));
  // What reaches Koa itself is a connection that broke while it was answered; the pipeline logs all else.
  app.on("error", (error: unknown) => logger.debug({ err: error }, "an answer could not be sent"));
  const server = createHttps(app, deps, limits);
  server.on("clientError", (error: ParserError, socket: Duplex) => refuseUnparsed(error, socket));
  server.on("tlsClientError", (error) => logger.debug({ err: error }, "a TLS handshake failed"));
  const connections = openConnections(server);

  await options.standIn?.stop();
  server.listen({ host: options.host, port: options.port });
  await once(server, "listening");
  const parts = setUp.move();
  const address = server.address() as AddressInfo;
  logger.info({ host: address.address, port: address.port }, "remote API listening");

  const stop = async (graceMs: number): Promise<void> => {
    pipeline.stop();
    const closed = once(server, "close");
    server.close();
    const timer = setTimeout(() => {
      for (const connection of connections) connection.destroy();
    }, graceMs);
    await closed;
    clearTimeout(timer);
    parts.dispose();
  };
  let stopped: Promise<void> | undefined;
  return {
    address,
    get waiting() {
      return waiters.size;
    },
    setTls: (tls) => server.setSecureContext(secureContext(tls)),
    stop: ({ graceMs = 5000 } = {}) => {
      stopped ??= stop(graceMs);
      return stopped;
    },
  };
}

function createHttps(app: Koa, { tls, joinTls }: Pick<RapiDeps, "tls" | "joinTls">, limits: RapiLimits): Server {
  const handler = app.callback();
  const server = createServer(
    {
      ...secureContext(tls),
      SNICallback: joinContexts(joinTls),
      handshakeTimeout: limits.headersMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      headersTimeout: limits.headersMs,
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: Math.min(1000, limits.headersMs / 2),
      keepAlive: true,
      noDelay: true,
    },
    handler,
  );
  // The request is looked at first: only one that will be read is told to send its body.
  server.on("checkContinue", handler);
  server.timeout = limits.stallMs;
  server.maxConnections = limits.connections;
  return server;
}

/** Whoever joins knows the cluster by its authority, also where the remote API has a certificate of the operator's. */
function joinContexts(joinTls: RapiDeps["joinTls"]): TlsOptions["SNICallback"] {
  let made: { readonly of: TlsIdentity; readonly context: SecureContext } | undefined;
  return (name, done) => {
    const tls = name === JOIN_SERVER_NAME ? joinTls?.() : undefined;
    if (tls === undefined) return done(null);
    if (made?.of !== tls) made = { of: tls, context: createSecureContext(secureContext(tls)) };
    done(null, made.context);
  };
}

/** All connections, those too whose TLS handshake is not over and which `closeAllConnections` does not know. */
function openConnections(server: Server): ReadonlySet<Socket> {
  const open = new Set<Socket>();
  server.on("connection", (connection: Socket) => {
    open.add(connection);
    connection.once("close", () => open.delete(connection));
  });
  return open;
}

function secureContext({ cert, key }: TlsIdentity) {
  return { cert, key, minVersion: "TLSv1.2" as const };
}

/** A node agent's gRPC server: mutual TLS, the master as the only caller, promises as handlers. */

import { once } from "node:events";
import { isIPv6 } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { ConfigurationError, JobCanceled } from "@gannet/errors";
import {
  Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { statusOf } from "./call-errors.ts";
import { masterOnly, serverCredentials } from "./credentials.ts";
import { LiveIdentity, type TlsIdentity } from "./live-identity.ts";
import { MESSAGE_LIMIT_BYTES } from "./message-limit.ts";
import { SERVICES, type ServiceMethods, type ServiceName, type Services } from "./services.ts";

export interface CallContext {
  /** Aborted when the caller has gone, its deadline has passed, or the server stops. */
  readonly signal: AbortSignal;
}

/** Every method of every service. A handler throws errors of the taxonomy; a stream's ends when its signal is aborted. */
export type AgentHandlers = { readonly [S in ServiceName]: ServiceMethods<Services[S], [call: CallContext]> };

/** How one call went. */
export interface CallEnd {
  /** `/gannet.node.v1.NodeService/Describe` */
  readonly method: string;
  readonly durationMs: number;
  /** Whether its caller went away, its deadline passed or the server stopped before its end. */
  readonly aborted: boolean;
  /** What its handler threw; undefined when it was answered. */
  readonly error: unknown;
}

export interface AgentServerOptions {
  readonly identity: TlsIdentity | LiveIdentity;
  readonly listen: { readonly host: string /** 0 for any free one. */; readonly port: number };
  readonly handlers: AgentHandlers;
  /** Told of each call that ended, for logs and measurements. */
  readonly onCallEnd: (call: CallEnd) => void;
  /** Also answer gRPC reflection. */
  readonly development: boolean;
}

export interface AgentServer {
  /** The port it listens on. */
  readonly port: number;
  /**
   * Take no more calls, end the streams, let running calls end for at most `graceMs`, then abort them and wait for
   * their handlers.
   */
  stop(graceMs: number): Promise<void>;
}

const LAST_ANSWERS_MS = 2_000;

/** Listens when it resolves. @throws ConfigurationError when it cannot listen there */
export async function createAgentServer(options: AgentServerOptions): Promise<AgentServer> {
  const identity = LiveIdentity.of(options.identity);
  const server = new Server({
    interceptors: [masterOnly(identity)],
    "grpc.keepalive_time_ms": 20_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.max_receive_message_length": MESSAGE_LIMIT_BYTES,
    // Bookkeeping of each call and message for a debugging service that nobody offers here.
    "grpc.enable_channelz": 0,
  });
  const calls = new RunningCalls(options.onCallEnd);
  for (const [name, definition] of Object.entries(SERVICES))
    server.addService(
      definition as unknown as ServiceDefinition,
      implement(definition, options.handlers[name as ServiceName] as Handlers, calls),
    );
  const health = new HealthImplementation({
    "": "SERVING",
    ...Object.fromEntries(Object.values(SERVICES).map((definition) => [serviceName(definition), "SERVING"])),
  });
  health.addToServer(server);
  if (options.development) await (await import("./reflection.ts")).addReflection(server);
  const port = await bind(server, options.listen, identity);
  return {
    port,
    stop: async (graceMs) => {
      health.setStatus("", "NOT_SERVING");
      const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
      await calls.finish(graceMs);
      // The last answers are still on their way; a client that hangs must not keep the server. Nor may one that hangs
      // in its handshake, which is no connection yet that could be ended: TLS gives it two minutes.
      await Promise.race([closed, delay(LAST_ANSWERS_MS, undefined, { ref: false })]);
      server.forceShutdown();
    },
  };
}

async function bind(
  server: Server,
  { host, port }: AgentServerOptions["listen"],
  identity: LiveIdentity,
): Promise<number> {
  const address = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  return new Promise((resolve, reject) => {
    server.bindAsync(address, serverCredentials(identity), (error, bound) =>
      error === null
        ? resolve(bound)
        : reject(new ConfigurationError(`Cannot listen on ${address}: ${reasonOf(error)}`)),
    );
  });
}

/** grpc-js puts the system's errors into brackets behind a sentence about itself. */
function reasonOf(error: Error): string {
  return /\[(?:listen )?(.*)\]$/.exec(error.message)?.[1] ?? error.message;
}

type Methods = Readonly<Record<string, { readonly path: string; readonly responseStream: boolean }>>;
type Handlers = Readonly<Record<string, (request: unknown, call: CallContext) => unknown>>;

/** `gannet.node.v1.NodeService`, out of the path of any of its methods. */
function serviceName(definition: Methods): string {
  return Object.values(definition)[0]?.path.split("/")[1] ?? "";
}

function implement(definition: Methods, handlers: Handlers, calls: RunningCalls): UntypedServiceImplementation {
  return Object.fromEntries(
    Object.entries(definition).map(([name, method]) => {
      const handler = handlers[name];
      if (handler === undefined) throw new Error(`${method.path} has no handler`);
      return [
        name,
        method.responseStream ? streaming(method.path, handler, calls) : unary(method.path, handler, calls),
      ];
    }),
  );
}

function unary(path: string, handler: Handlers[string], calls: RunningCalls) {
  return (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>): void => {
    void calls.run(path, "work", call, async (context) => {
      try {
        const reply = await handler(call.request, context);
        callback(null, reply);
      } catch (error) {
        callback(statusOf(error));
        throw error;
      }
    });
  };
}

function streaming(path: string, handler: Handlers[string], calls: RunningCalls) {
  return (call: ServerWritableStream<unknown, unknown>): void => {
    void calls.run(path, "stream", call, async (context) => {
      try {
        for await (const reply of handler(call.request, context) as AsyncIterable<unknown>) {
          if (context.signal.aborted) break;
          if (!call.write(reply)) await once(call, "drain", { signal: context.signal });
        }
        call.end();
      } catch (error) {
        call.emit("error", statusOf(error));
        throw error;
      }
    });
  };
}

/** The calls under way, so that a stopping server can wait for them and abort them. */
class RunningCalls {
  readonly #running = new Map<Promise<void>, { readonly kind: "work" | "stream"; readonly abort: AbortController }>();
  readonly #onCallEnd: (call: CallEnd) => void;

  constructor(onCallEnd: (call: CallEnd) => void) {
    this.#onCallEnd = onCallEnd;
  }

  /** Never rejects: the call's answer is `handle`'s concern. */
  run(
    method: string,
    kind: "work" | "stream",
    call: { on(event: "cancelled", listener: () => void): unknown },
    handle: (context: CallContext) => Promise<void>,
  ): Promise<void> {
    const abort = new AbortController();
    call.on("cancelled", () => abort.abort(new JobCanceled(`The caller of ${method} has gone`)));
    const startedAt = performance.now();
    const running = handle({ signal: abort.signal })
      .then(() => undefined)
      .catch((error: unknown) => error)
      .then((error) => {
        this.#running.delete(running);
        const durationMs = Math.round(performance.now() - startedAt);
        this.#onCallEnd({ method, durationMs, aborted: abort.signal.aborted, error });
      });
    this.#running.set(running, { kind, abort });
    return running;
  }

  /** Streams end at once, work gets `graceMs` to end by itself. */
  async finish(graceMs: number): Promise<void> {
    const stopping = new JobCanceled("The node's agent is stopping");
    for (const { kind, abort } of this.#running.values()) if (kind === "stream") abort.abort(stopping);
    const timer = setTimeout(() => {
      for (const { abort } of this.#running.values()) abort.abort(stopping);
    }, graceMs);
    while (this.#running.size > 0) await Promise.all(this.#running.keys());
    clearTimeout(timer);
  }
}

/** The master's connection to one node's agent. */
import type { X509Certificate } from "node:crypto";
import { NodeUnreachable } from "@gannet/errors";
import { Client, type ClientOptions, connectivityState, Metadata, type ServiceError } from "@grpc/grpc-js";
import { callError } from "./call-errors.ts";
import { channelCredentials } from "./credentials.ts";
import { DEADLINES_MS } from "./deadlines.ts";
import type { LiveIdentity, TlsIdentity } from "./live-identity.ts";
import { MESSAGE_LIMIT_BYTES } from "./message-limit.ts";
import { type MethodDefinition, SERVICES, type ServiceMethods, type ServiceName, type Services } from "./services.ts";

export interface NodeClientOptions {
  /** As in the certificate of the node's agent. */
  readonly nodeName: string;
  /** `host:port` of the agent. */
  readonly address: string;
  readonly identity: TlsIdentity | LiveIdentity;
  /** Told at each connection which certificate the agent has shown. */
  readonly onCertificate?: (certificate: X509Certificate) => void;
  /** Told of each call that ended, streams excepted, for measurements. */
  readonly onCallEnd?: (call: ClientCallEnd) => void;
  /** How long a call waits for the connection; a node that cannot be connected to in that time is unreachable. */
  readonly connectTimeoutMs?: number;
  /** How long it waits while the node is unreachable already. */
  readonly lostConnectTimeoutMs?: number;
  /** How long it waits for an agent that was connected and now refuses connections: it may be started again. */
  readonly restartTimeoutMs?: number;
}

/** How one call went. */
export interface ClientCallEnd {
  /** `NodeService/Describe` */
  readonly method: string;
  readonly durationMs: number;
  /** `error`: the agent refused it or failed. `unreachable`: it was not asked, or what it did is not known. */
  readonly outcome: "ok" | "error" | "unreachable" | "canceled";
}

export interface CallOptions {
  /** Cancels the call, and the work it began on the node. */
  readonly signal?: AbortSignal;
  /** Instead of the method's own deadline. */
  readonly timeoutMs?: number;
}

/**
 * Calls of one node's agent over one channel that connects by itself and again. Every call has a deadline.
 * Failures are errors of the taxonomy: what the agent threw, or `NodeUnreachable` when it could not be asked or
 * did not answer, so that what it did is unknown. A call whose signal was aborted rejects with the signal's reason.
 */
export type NodeClient = {
  readonly [S in ServiceName]: ServiceMethods<Services[S], [options?: CallOptions]>;
} & {
  readonly nodeName: string;
  /** Ends the channel; calls under way fail. */
  close(): void;
};

const CONNECT_TIMEOUT_MS = 15_000;
/**
 * Several of the longest pauses between two attempts to connect. A job that goes on without a dead node calls it several
 * times: a failover of its guest, with the full time for each, was done 20 s after the guest ran elsewhere, and is done
 * 8 s after it with this.
 */
const LOST_CONNECT_TIMEOUT_MS = 4_000;
/**
 * systemd starts an agent again after 2 s, and it needs some hundred milliseconds and a pause between two attempts to be
 * found. Without it every job that met those seconds failed: on the master's node each that has hooks.
 */
const RESTART_TIMEOUT_MS = 5_000;

const CHANNEL_OPTIONS: ClientOptions = {
  // A dead peer or path is noticed within 20 s, also on an idle channel.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // An agent that was restarted is found again soon.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 1_000,
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
  "grpc.use_local_subchannel_pool": 1,
  "grpc.max_receive_message_length": MESSAGE_LIMIT_BYTES,
  "grpc.enable_channelz": 0,
};

export function createNodeClient(options: NodeClientOptions): NodeClient {
  const credentials = channelCredentials(options.identity, options.nodeName, options.onCertificate);
  const channel = new Client(options.address, credentials, {
    ...CHANNEL_OPTIONS,
    "grpc.ssl_target_name_override": options.nodeName,
    "grpc.default_authority": options.nodeName,
  });
  const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  const lostTimeoutMs = options.lostConnectTimeoutMs ?? Math.min(timeoutMs, LOST_CONNECT_TIMEOUT_MS);
  const restartTimeoutMs = options.restartTimeoutMs ?? Math.min(timeoutMs, RESTART_TIMEOUT_MS);
  const connection: Connection = { phase: "unknown", timeoutMs, lostTimeoutMs, restartTimeoutMs };
  const services = Object.fromEntries(
    Object.entries(SERVICES).map(([service, methods]) => [
      service,
      Object.fromEntries(
        Object.entries(methods).map(([name, method]) => {
          const deadline = (DEADLINES_MS as DeadlineTable)[service]?.[name];
          if (deadline === undefined) throw new Error(`${service}.${name} has no deadline`);
          const { nodeName, onCallEnd } = options;
          const anyMethod = method as unknown as AnyMethod;
          const bound = { channel, connection, nodeName, onCallEnd, method: anyMethod, deadline };
          return [name, method.responseStream ? streamingCall(bound) : unaryCall(bound)];
        }),
      ),
    ]),
  );
  return { ...services, nodeName: options.nodeName, close: () => channel.close() } as NodeClient;
}

type AnyMethod = MethodDefinition<unknown, unknown>;
type DeadlineTable = Record<string, Record<string, number | ((request: unknown) => number)>>;

/** What the calls of a node have in common. */
interface Connection {
  readonly timeoutMs: number;
  readonly lostTimeoutMs: number;
  readonly restartTimeoutMs: number;
  /** `connected`: there was one, and no call has waited for the next in vain. `lost`: one has. */
  phase: "unknown" | "connected" | "lost";
}

interface BoundMethod {
  readonly channel: Client;
  readonly connection: Connection;
  readonly nodeName: string;
  readonly onCallEnd: NodeClientOptions["onCallEnd"];
  readonly method: AnyMethod;
  readonly deadline: number | ((request: unknown) => number);
}

function unaryCall(bound: BoundMethod) {
  const { method } = bound;
  return async (request: unknown, options: CallOptions = {}): Promise<unknown> => {
    options.signal?.throwIfAborted();
    const startedAt = performance.now();
    const answered = new AbortController();
    const unconnected = new AbortController();
    return new Promise((resolve, reject) => {
      const call = bound.channel.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        metadataOf(bound),
        { deadline: deadlineOf(bound, request, options) },
        (error, reply) => {
          answered.abort();
          const signals = { ...options, unconnected: unconnected.signal };
          const reason = error === null ? undefined : failure(bound, error, signals);
          const outcome = error === null ? "ok" : outcomeOf(reason, options.signal);
          const [, service = ""] = method.path.split(/gannet\.node\.v1\./);
          bound.onCallEnd?.({ method: service, outcome, durationMs: performance.now() - startedAt });
          if (error === null) resolve(reply);
          else reject(reason);
        },
      );
      giveUpUnconnected(bound, unconnected);
      const cancel = () => call.cancel();
      for (const signal of [options.signal, unconnected.signal])
        signal?.addEventListener("abort", cancel, { signal: answered.signal });
    });
  };
}

function outcomeOf(reason: unknown, signal: AbortSignal | undefined): ClientCallEnd["outcome"] {
  if (signal?.aborted) return "canceled";
  return reason instanceof NodeUnreachable ? "unreachable" : "error";
}

function streamingCall(bound: BoundMethod) {
  const { method } = bound;
  return async function* (request: unknown, options: CallOptions = {}): AsyncGenerator<unknown> {
    options.signal?.throwIfAborted();
    const ended = new AbortController();
    const unconnected = new AbortController();
    const call = bound.channel.makeServerStreamRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      metadataOf(bound),
      { deadline: deadlineOf(bound, request, options) },
    );
    giveUpUnconnected(bound, unconnected);
    const cancel = () => call.cancel();
    for (const signal of [options.signal, unconnected.signal])
      signal?.addEventListener("abort", cancel, { signal: ended.signal });
    try {
      for await (const reply of call) yield reply;
    } catch (error) {
      throw failure(bound, error as ServiceError, { ...options, unconnected: unconnected.signal });
    } finally {
      ended.abort();
      call.cancel();
    }
  };
}

function deadlineOf(bound: BoundMethod, request: unknown, options: CallOptions): number {
  const standard = typeof bound.deadline === "number" ? bound.deadline : bound.deadline(request);
  return Date.now() + (options.timeoutMs ?? standard);
}

/** While an agent may be started again, a call is kept until it can be sent; else a refused connection ends it. */
function metadataOf({ connection }: BoundMethod): Metadata {
  return new Metadata({ waitForReady: connection.phase === "connected" });
}

/**
 * grpc-js has no bound of its own: a node that takes the connection and then is silent (its agent is stopped, its disk
 * hangs) would hold a call until the call's deadline.
 */
function giveUpUnconnected(bound: BoundMethod, call: AbortController): void {
  const { channel, connection, nodeName, method } = bound;
  const state = () => channel.getChannel().getConnectivityState(false);
  if (state() === connectivityState.READY) {
    connection.phase = "connected";
    return;
  }
  const giveUp = (timeoutMs: number, cause: Error) => {
    connection.phase = "lost";
    const seconds = timeoutMs / 1000;
    const what = `Node ${nodeName} cannot be reached for ${method.path.slice(1)}: no connection within ${seconds} s`;
    call.abort(new NodeUnreachable(nodeName, what, { cause }));
  };
  const { phase, timeoutMs, lostTimeoutMs, restartTimeoutMs } = connection;
  const wait = (forMs: number, inVain: (cause: Error) => void) =>
    channel.waitForReady(Date.now() + forMs, (error) => {
      if (error === undefined) connection.phase = "connected";
      else inVain(error);
    });
  if (phase === "lost") {
    wait(lostTimeoutMs, (cause) => giveUp(lostTimeoutMs, cause));
    return;
  }
  wait(restartTimeoutMs, (cause) => {
    if (state() === connectivityState.TRANSIENT_FAILURE) giveUp(restartTimeoutMs, cause);
    else wait(timeoutMs - restartTimeoutMs, (later) => giveUp(timeoutMs, later));
  });
}

/** @param signals - `unconnected` is aborted when there was no connection in time */
function failure(
  bound: BoundMethod,
  error: ServiceError,
  signals: { readonly signal?: AbortSignal; readonly unconnected: AbortSignal },
): unknown {
  for (const signal of [signals.signal, signals.unconnected]) if (signal?.aborted) return signal.reason;
  return callError(bound.nodeName, bound.method.path.slice(1), error);
}

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
 * Twice the longest pause between two attempts to connect. A job that goes on without a dead node calls it several
 * times: a failover of its guest, with the full time for each, was done 20 s after the guest ran elsewhere, and is done
 * 8 s after it with this.
 */
const LOST_CONNECT_TIMEOUT_MS = 4_000;

const CHANNEL_OPTIONS: ClientOptions = {
  // A dead peer or path is noticed within 20 s, also on an idle channel.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  // An agent that was restarted is found again soon.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 2_000,
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
  const connection: Connection = { isLost: false, timeoutMs, lostTimeoutMs };
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
  /** A call has waited for it in vain, and there has been none since. */
  isLost: boolean;
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
        new Metadata(),
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
      new Metadata(),
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

/**
 * grpc-js has no bound of its own: a node that takes the connection and then is silent (its agent is stopped, its disk
 * hangs) would hold a call until the call's deadline.
 */
function giveUpUnconnected(bound: BoundMethod, call: AbortController): void {
  const { channel, connection, nodeName, method } = bound;
  const connected = () => {
    connection.isLost = false;
  };
  if (channel.getChannel().getConnectivityState(false) === connectivityState.READY) {
    connected();
    return;
  }
  const timeoutMs = connection.isLost ? connection.lostTimeoutMs : connection.timeoutMs;
  channel.waitForReady(Date.now() + timeoutMs, (error) => {
    if (error === undefined) {
      connected();
      return;
    }
    connection.isLost = true;
    const seconds = timeoutMs / 1000;
    const what = `Node ${nodeName} cannot be reached for ${method.path.slice(1)}: no connection within ${seconds} s`;
    call.abort(new NodeUnreachable(nodeName, what, { cause: error }));
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

/** A failed call as the server sends it and as the client understands it. */
import {
  ConfigurationError,
  decodeGrpcError,
  ERROR_METADATA_KEY,
  encodeGrpcError,
  type GannetError,
  NodeUnreachable,
  OpExecError,
  type WireError,
} from "@gannet/errors";
import { Metadata, type ServiceError, type StatusObject, status } from "@grpc/grpc-js";

/** Metadata travel in one HTTP/2 header list, which peers bound at 64 KiB and below. */
const MESSAGE_LIMIT_CHARS = 4_000;
const DETAILS_LIMIT_CHARS = 200;

/** The status an agent answers a failed call with. The taxonomy travels in its metadata. */
export function statusOf(error: unknown): StatusObject {
  const { status: code, wire } = encodeGrpcError(error);
  const message = cut(wire.message, MESSAGE_LIMIT_CHARS);
  const metadata = new Metadata();
  metadata.set(ERROR_METADATA_KEY, Buffer.from(JSON.stringify({ ...wire, message })));
  return { code, details: cut(message, DETAILS_LIMIT_CHARS), metadata };
}

/** Begin and end say most: the command at the one, its last words at the other. */
function cut(text: string, limitChars: number): string {
  if (text.length <= limitChars) return text;
  const half = Math.floor(limitChars / 2);
  return `${text.slice(0, half)} … ${text.slice(-half)}`;
}

/** Statuses that come from the other side's rules rather than from a failure on the way. */
const REFUSALS: Readonly<Record<number, (node: string, details: string) => GannetError>> = {
  [status.PERMISSION_DENIED]: (node, details) => new ConfigurationError(`Node ${node} refused the call: ${details}`),
  [status.UNAUTHENTICATED]: (node, details) => new ConfigurationError(`Node ${node} refused the call: ${details}`),
  [status.UNIMPLEMENTED]: (node) => new OpExecError(`The agent of node ${node} does not know this call; update it`),
  [status.RESOURCE_EXHAUSTED]: (node, details) =>
    new OpExecError(`The message to or from node ${node} is too large: ${details}`),
};

/** The error a call's caller gets: what the agent threw, or that the node cannot be reached. */
export function callError(nodeName: string, method: string, error: ServiceError): GannetError {
  const wire = wireErrorOf(error);
  if (wire !== undefined) return decodeGrpcError(wire);
  const refusal = REFUSALS[error.code];
  if (refusal !== undefined) return refusal(nodeName, error.details);
  const what =
    error.code === status.DEADLINE_EXCEEDED
      ? `Node ${nodeName} did not answer ${method} in time`
      : `Node ${nodeName} cannot be reached for ${method}: ${error.details}`;
  return new NodeUnreachable(nodeName, what, { cause: error });
}

function wireErrorOf(error: ServiceError): WireError | undefined {
  const [value] = error.metadata?.get(ERROR_METADATA_KEY) ?? [];
  if (value === undefined) return undefined;
  try {
    const wire: unknown = JSON.parse(value.toString());
    return isWireError(wire) ? wire : undefined;
  } catch {
    return undefined;
  }
}

function isWireError(value: unknown): value is WireError {
  return (
    typeof value === "object" &&
    value !== null &&
    "kind" in value &&
    typeof value.kind === "string" &&
    "message" in value &&
    typeof value.message === "string"
  );
}

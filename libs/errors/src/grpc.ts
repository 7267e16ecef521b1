/**
 * Errors between master and agent. The taxonomy travels as JSON in one metadata entry of the failed call,
 * so that what a driver threw on a node is what the job shows; the status code serves retries and metrics.
 */
import * as errors from "./gannet-error.ts";

/** The metadata key that carries a {@link WireError}. */
export const ERROR_METADATA_KEY = "gannet-error-bin";

/** gRPC status codes used here (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export const GRPC_STATUS = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  failedPrecondition: 9,
  aborted: 10,
  internal: 13,
  unavailable: 14,
} as const;

export interface WireError {
  readonly kind: string;
  readonly message: string;
  readonly code?: string;
}

/** Classes whose instances travel whole. Anything else arrives as `OpExecError`. */
const TRAVELLING = {
  OpExecError: errors.OpExecError,
  TypeEnforcementError: errors.TypeEnforcementError,
  ConfigurationError: errors.ConfigurationError,
  HypervisorError: errors.HypervisorError,
  BlockDeviceError: errors.BlockDeviceError,
  FileStoragePathError: errors.FileStoragePathError,
  CommandError: errors.CommandError,
  StaleEpoch: errors.StaleEpoch,
  JobCanceled: errors.JobCanceled,
} as const satisfies Record<string, new (message: string) => errors.GannetError>;

/** The wire form and status code of an error an agent's handler threw. */
export function encodeGrpcError(error: unknown): { readonly status: number; readonly wire: WireError } {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof errors.OpPrereqError)
    return {
      status: error.code === "unknown_entity" ? GRPC_STATUS.notFound : GRPC_STATUS.invalidArgument,
      wire: { kind: "OpPrereqError", message, code: error.code },
    };
  if (error instanceof errors.StaleEpoch)
    return { status: GRPC_STATUS.failedPrecondition, wire: { kind: "StaleEpoch", message } };
  if (error instanceof errors.JobCanceled)
    return { status: GRPC_STATUS.aborted, wire: { kind: "JobCanceled", message } };
  const kind = error instanceof Error && Object.hasOwn(TRAVELLING, error.name) ? error.name : "OpExecError";
  return { status: GRPC_STATUS.internal, wire: { kind, message } };
}

/** The error an agent threw, rebuilt on the master. */
export function decodeGrpcError(wire: WireError): errors.GannetError {
  if (wire.kind === "OpPrereqError")
    return new errors.OpPrereqError(wire.message, (wire.code ?? "internal_error") as never);
  if (Object.hasOwn(TRAVELLING, wire.kind)) return new TRAVELLING[wire.kind as keyof typeof TRAVELLING](wire.message);
  return new errors.OpExecError(wire.message);
}

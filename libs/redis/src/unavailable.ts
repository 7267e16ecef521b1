/** What a failed Redis command means: trouble of the server or the connection, or a defect of ours. */
import { Unavailable } from "@gannet/errors";

/** There is no connection, or it broke before the answer came: then it is not known whether the command ran. */
export class RedisUnreachable extends Unavailable {}

/** First word of an error reply, and what an operator should read. */
const SERVER_TROUBLE: Readonly<Record<string, string>> = {
  BUSY: "Redis is busy with a long script",
  CLUSTERDOWN: "Redis' cluster is down",
  LOADING: "Redis is still loading its data",
  MASTERDOWN: "Redis has lost its primary",
  MISCONF: "Redis cannot write to its disk; look at its log and the free space there",
  NOAUTH: "Redis wants a password; set it in the password file",
  NOPERM: "the Redis user may not run this command; give it the rights that deploy/ documents",
  NOREPLICAS: "Redis has too few replicas in touch to accept writes; this may be the smaller part of a divided network",
  OOM: "Redis has reached its memory limit; raise maxmemory or archive and remove jobs",
  READONLY: "this Redis is a read-only replica",
  UNBLOCKED: "Redis has changed from a primary to a replica",
  UNKILLABLE: "Redis is busy with a long script",
  WRONGPASS: "Redis refuses the password; look at the password file",
};

/** How ioredis and Node say that there was no connection, or none any more. */
const CONNECTION_TROUBLE =
  /^(Connection is closed|Reached the max retries per request|Stream isn't writeable|Command aborted|Command timed out|Socket timeout|Socket closed unexpectedly|All sentinels are unreachable|connect |read |write |Client network socket disconnected)/;

/**
 * The error to throw for a failed command: `Unavailable` with a reason when the server or the way to it is in
 * trouble ({@link RedisUnreachable} for the latter), anything else as it is.
 */
export function redisUnavailable(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if (error instanceof Unavailable) return error;
  const trouble = SERVER_TROUBLE[error.message.split(" ", 1)[0] ?? ""];
  if (trouble !== undefined) return new Unavailable(`Not possible now: ${trouble}`, { cause: bare(error) });
  if (CONNECTION_TROUBLE.test(error.message) || "syscall" in error)
    return new RedisUnreachable("Not possible now: Redis is not reachable", { cause: bare(error) });
  return error;
}

/** ioredis puts a command's whole arguments on its errors; they may be secret and are large. */
function bare(error: Error): Error {
  const copy = new Error(error.message);
  copy.name = error.name;
  return copy;
}

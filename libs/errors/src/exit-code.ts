/** Errors as a command's exit code, for the daemons' own command lines. */
import { OpPrereqError, Unavailable } from "./gannet-error.ts";

/** 2: the caller asked wrongly; 3: something needed is not there now; 1: anything else. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof OpPrereqError) return 2;
  if (error instanceof Unavailable) return 3;
  return 1;
}

/** Errors of system calls, told apart by their code (errno(3)). */

export function isErrno(error: unknown, ...codes: readonly string[]): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** For `.catch`: a thing that does not exist is undefined, any other error stays one. */
export function undefinedWhenMissing(error: unknown): undefined {
  if (!isErrno(error, "ENOENT")) throw error;
  return undefined;
}

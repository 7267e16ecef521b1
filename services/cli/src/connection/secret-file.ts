/** Files with passwords and tokens, which only their owner may read. */
import { open } from "node:fs/promises";
import { OpPrereqError } from "@gannet/errors";
import type { RapiCredentials } from "@gannet/rapi-client";

const MAX_BYTES = 64 * 1024;

/** `user password` on one line. @throws OpPrereqError */
export async function readCredentials(file: string): Promise<RapiCredentials> {
  const [, user, password] = /^(\S+)[ \t]+(\S.*)$/.exec(await readSecret(file)) ?? [];
  if (user !== undefined && password !== undefined) return { user, password };
  throw new OpPrereqError(`${file} must hold one line: a user, a blank and the password`, "wrong_input");
}

/** An API token. @throws OpPrereqError */
export async function readToken(file: string): Promise<RapiCredentials> {
  const token = await readSecret(file);
  if (/^[\x21-\x7e]+$/.test(token)) return { token };
  throw new OpPrereqError(`${file} must hold one API token and nothing else`, "wrong_input");
}

/** @throws OpPrereqError where the file cannot be read, or others than its owner may read or change it */
async function readSecret(file: string): Promise<string> {
  try {
    await using handle = await open(file, "r");
    const { mode, size, uid } = await handle.stat();
    if ((mode & 0o077) !== 0)
      throw new OpPrereqError(`Others than its owner have rights on ${file}: chmod 600 it`, "wrong_input");
    const me = process.getuid?.();
    if (uid !== me && uid !== 0) throw new OpPrereqError(`${file} belongs to somebody else`, "wrong_input");
    if (size > MAX_BYTES) throw new OpPrereqError(`${file} is too large to hold a password`, "wrong_input");
    return (await handle.readFile("utf8")).trim();
  } catch (error) {
    if (error instanceof OpPrereqError) throw error;
    throw new OpPrereqError(`${file} cannot be read: ${(error as Error).message}`, "environment_error");
  }
}

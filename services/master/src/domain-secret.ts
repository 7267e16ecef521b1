/**
 * The cluster domain secret, which clusters share that move instances to each other (Ganeti: the file
 * cluster-domain-secret). Read for each use: it can be replaced while the master runs.
 */
import { readFile } from "node:fs/promises";
import { OpPrereqError } from "@gannet/errors";

const LIMIT_CHARS = 4096;

/**
 * @returns the file's only line
 * @throws OpPrereqError (environment_error) when it is not there or not one line
 */
export async function readDomainSecret(file: string): Promise<string> {
  const text = await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(
      `The cluster domain secret cannot be read from ${file} (${cause.code}): give both clusters the same file`,
      "environment_error",
      { cause },
    );
  });
  const secret = text.replace(/\r?\n$/, "");
  if (secret === "" || secret.length > LIMIT_CHARS || /[\r\n]/.test(secret))
    throw new OpPrereqError(`${file} does not hold a cluster domain secret: one line of text`, "environment_error");
  return secret;
}

/** The folder in which an agent keeps its state, held by one agent at a time. */
import { createHash, X509Certificate } from "node:crypto";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { holdFolder } from "@gannet/exec";

export interface StateFolder {
  readonly path: string;
  /** Records of running commands (`endLeftoverCommands` of @gannet/exec). */
  readonly commands: string;
  /** What concerns the leaders of one cluster: their epoch and the answers they were given. */
  readonly leaders: string;
  release(): void;
}

/**
 * Take the folder, made where it is missing. Leaders are kept by the cluster's authority: a node that is given to
 * another cluster begins anew with it, whose epochs and job numbers begin at 1, and leaders of the old one cannot
 * come back, because their certificates are no longer accepted.
 * @throws ConfigurationError when another agent holds it
 */
export async function takeStateFolder(folder: string, authority: Buffer): Promise<StateFolder> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: Error) => {
    throw new ConfigurationError(`The state folder ${folder} cannot be made: ${error.message}`);
  });
  const release = await holdFolder(folder, "agent");
  const commands = path.join(folder, "commands");
  const leaders = path.join(folder, "leaders", authorityId(authority));
  for (const part of [commands, leaders]) await mkdir(part, { recursive: true, mode: 0o700 });
  return { path: folder, commands, leaders, release };
}

/** A renewed certificate of the same authority has the same key. */
function authorityId(authority: Buffer): string {
  const key = new X509Certificate(authority).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("hex").slice(0, 16);
}

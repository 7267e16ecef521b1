/** The folder in which an agent keeps its state, held by one agent at a time. */
import { createHash, X509Certificate } from "node:crypto";
import { mkdir, readlink, symlink } from "node:fs/promises";
import path from "node:path";
import { ConfigurationError } from "@gannet/errors";
import { holdFolder } from "@gannet/exec";
import { certificatesIn } from "@gannet/pki";

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
 * come back, because their certificates are no longer accepted. A cluster that changes its authority stays the same.
 * @param authority - PEM; of several the first counts
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
function authorityId(authority: Buffer | X509Certificate): string {
  const certificate = authority instanceof X509Certificate ? authority : new X509Certificate(authority);
  const key = certificate.publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("hex").slice(0, 16);
}

/**
 * A cluster changes its authority: what is kept of its leaders is found under each of the new ones, too.
 * @param folder - the state folder
 */
export async function keepLeaders(folder: string, former: Buffer, authorities: Buffer): Promise<void> {
  const leaders = path.join(folder, "leaders");
  const present = authorityId(former);
  const kept = await readlink(path.join(leaders, present)).catch(() => present);
  for (const certificate of certificatesIn(authorities)) {
    const id = authorityId(certificate);
    if (id === kept || id === present) continue;
    await symlink(kept, path.join(leaders, id)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  }
}

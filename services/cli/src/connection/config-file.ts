/** `~/.config/gannet/gnt.json`: the clusters that an operator works with, by name. */
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";

const knownCluster = z.strictObject({
  url: z.string(),
  /** File with the PEM certificate of the cluster's authority; absent: those that the system trusts. */
  ca: z.string().optional(),
  /** File with `user password`. */
  credentials: z.string().optional(),
  /** File with an API token. */
  token: z.string().optional(),
});
export type KnownCluster = z.output<typeof knownCluster>;

const configuration = z.strictObject({
  /** Name of the cluster that is meant where none is said. */
  default: z.string().optional(),
  clusters: z.record(z.string(), knownCluster).default({}),
});
export type ClientConfiguration = z.output<typeof configuration>;

/** Where an operator's own files are. */
export function configurationFolder(env: NodeJS.ProcessEnv): string {
  const base = env.XDG_CONFIG_HOME ?? path.join(env.HOME ?? "/", ".config");
  return path.join(base, "gannet");
}

/** @throws OpPrereqError wrong_input that names the file and what is wrong with it */
export async function readClientConfiguration(folder: string): Promise<ClientConfiguration> {
  const file = path.join(folder, "gnt.json");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return "{}";
    throw new OpPrereqError(`${file} cannot be read: ${error.message}`, "environment_error");
  });
  const parsed = configuration.safeParse(jsonOf(text));
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new OpPrereqError(`${file}: ${issue?.path.join(".")} ${issue?.message}`, "wrong_input");
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Keep a copy of an authority's certificate for a cluster, so that it need not be named again.
 * @returns the file it is kept in, or undefined where it was known already
 */
export async function rememberAuthority(
  folder: string,
  name: string,
  url: string,
  pem: string,
): Promise<string | undefined> {
  const known = await readClientConfiguration(folder);
  const file = path.join(folder, `${name.replaceAll(/[^\w.-]/g, "_")}.ca.pem`);
  const kept = known.clusters[name];
  if (kept?.ca !== undefined && (await readFile(kept.ca, "utf8").catch(() => "")) === pem) return undefined;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(file, pem);
  const clusters = { ...known.clusters, [name]: { ...kept, url, ca: file } };
  const configFile = path.join(folder, "gnt.json");
  await writeFile(configFile, `${JSON.stringify({ ...known, clusters }, undefined, 2)}\n`, { mode: 0o600 });
  await chmod(configFile, 0o600);
  return file;
}

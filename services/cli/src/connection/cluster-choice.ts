/** Which cluster a command is for, whose authority it trusts, and who asks. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { SYSTEM_PORTS } from "@gannet/objects";
import { RapiClient, type RapiCredentials } from "@gannet/rapi-client";
import type { Terminal } from "../terminal.ts";
import { configurationFolder, type KnownCluster, readClientConfiguration, rememberAuthority } from "./config-file.ts";
import { explainedLocally, LOCAL_PLACES, type LocalPlaces, localCluster, localCredentials } from "./local-cluster.ts";
import { readCredentials, readToken } from "./secret-file.ts";

/** What the command line says of it. */
export interface ClusterOptions {
  /** A URL, or a name of the configuration file. */
  readonly cluster?: string;
  /** File with the cluster's authority. */
  readonly ca?: string;
  /** File with `user password`. */
  readonly credentials?: string;
}

/** How long a first request is repeated while nobody answers: a leader's change takes less. */
const PATIENCE_MS = 10_000;

export interface ClusterConnection {
  readonly client: RapiClient;
  readonly url: string;
  /** A failure of the client as it is to be told. */
  readonly explained: (error: unknown) => unknown;
}

/**
 * A client for the cluster that is meant.
 * @throws OpPrereqError where no cluster is named, or a file that is named cannot be used
 */
export async function connect(
  options: ClusterOptions,
  env: NodeJS.ProcessEnv,
  terminal: Terminal,
  places: LocalPlaces = LOCAL_PLACES,
): Promise<ClusterConnection> {
  const folder = configurationFolder(env);
  const { name, serverName, ...cluster } = await chosenCluster(options, env, folder, places);
  const { host, port } = addressOf(cluster.url);
  const caFile = options.ca ?? env.GNT_CA ?? cluster.ca;
  const ca = caFile === undefined ? undefined : await readAuthority(caFile);
  const isLocal = serverName !== undefined;
  const own = isLocal ? () => localCredentials(places) : undefined;
  const credentials = await credentialsFor({ ...cluster, own }, options, env, folder, terminal);
  const client = new RapiClient({
    host,
    port,
    ...credentials,
    ...(ca !== undefined && { ca }),
    ...(isLocal && { serverName }),
    repeatMs: PATIENCE_MS,
  });
  if (options.ca !== undefined && ca !== undefined) {
    // Only an authority that proves the cluster is worth remembering.
    await client.get("/version");
    await remember(folder, name, cluster.url, ca, terminal);
  }
  return { client, url: cluster.url, explained: (error) => (isLocal ? explainedLocally(error, places) : error) };
}

async function remember(folder: string, name: string, url: string, ca: string, terminal: Terminal): Promise<void> {
  const kept = await rememberAuthority(folder, name, url, ca);
  if (kept !== undefined) terminal.note(`The authority of ${name} is kept in ${kept}: --ca is not needed again`);
}

async function chosenCluster(
  options: ClusterOptions,
  env: NodeJS.ProcessEnv,
  folder: string,
  places: LocalPlaces,
): Promise<KnownCluster & { readonly name: string; readonly serverName?: string }> {
  const known = await readClientConfiguration(folder);
  const said = options.cluster ?? env.GNT_CLUSTER ?? known.default;
  if (said === undefined) {
    const local = await localCluster(places);
    if (local !== undefined) return { name: "local", ...local };
    throw new OpPrereqError(
      "Say which cluster: --cluster URL, or GNT_CLUSTER in the environment; on a master's machine root need not",
      "wrong_input",
    );
  }
  const named = known.clusters[said];
  if (named !== undefined) return { name: said, ...named };
  if (!said.includes("://") && Object.keys(known.clusters).length > 0 && !/[.:]/.test(said)) {
    const names = Object.keys(known.clusters).join(", ");
    throw new OpPrereqError(`No cluster is named ${JSON.stringify(said)}; there are: ${names}`, "wrong_input");
  }
  const url = said.includes("://") ? said : `https://${said}`;
  const { host, port } = addressOf(url);
  const name = `${host}:${port}`;
  return { name, ...known.clusters[name], url };
}

function addressOf(url: string): { readonly host: string; readonly port: number } {
  const parsed = URL.parse(url);
  if (parsed === null || parsed.protocol !== "https:" || parsed.username !== "" || parsed.password !== "")
    throw new OpPrereqError(`A cluster is named as https://HOST:PORT, not ${JSON.stringify(url)}`, "wrong_input");
  const host = parsed.hostname.replace(/^\[(.*)\]$/, "$1");
  // The parser drops the port that is usual for a scheme, which is not ours.
  const port = /:(\d+)\/?$/.exec(url)?.[1];
  return { host, port: port === undefined ? SYSTEM_PORTS.rapi : Number(port) };
}

async function readAuthority(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new OpPrereqError(`${file} cannot be read: ${(error as Error).message}`, "environment_error");
  }
}

async function credentialsFor(
  cluster: KnownCluster & { readonly own: (() => Promise<RapiCredentials>) | undefined },
  options: ClusterOptions,
  env: NodeJS.ProcessEnv,
  folder: string,
  terminal: Terminal,
): Promise<RapiCredentials> {
  if (options.credentials !== undefined) return await readCredentials(options.credentials);
  if (env.GNT_TOKEN_FILE !== undefined) return await readToken(env.GNT_TOKEN_FILE);
  if (env.GNT_CREDENTIALS !== undefined) return await readCredentials(env.GNT_CREDENTIALS);
  if (cluster.token !== undefined) return await readToken(cluster.token);
  if (cluster.credentials !== undefined) return await readCredentials(cluster.credentials);
  if (cluster.own !== undefined) return await cluster.own();
  const usual = path.join(folder, "credentials");
  if (existsSync(usual)) return await readCredentials(usual);
  if (terminal.isInteractive)
    return { user: await terminal.ask("User: "), password: await terminal.askSecret("Password: ") };
  throw new OpPrereqError(
    `Say who asks: GNT_CREDENTIALS names a file with "user password", or put it into ${usual}`,
    "wrong_input",
  );
}

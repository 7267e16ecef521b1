/**
 * The cluster whose master runs on this machine: what root means by `gnt` without saying more. The remote API shows who
 * asks for {@link JOIN_SERVER_NAME} a certificate of the cluster's authority, whatever certificate the operator has given
 * it and whichever names that has.
 */
import { access, constants, readFile } from "node:fs/promises";
import path from "node:path";
import { HttpError, OpPrereqError } from "@gannet/errors";
import { hostAndPort, SYSTEM_LAYOUT, SYSTEM_PORTS } from "@gannet/objects";
import { JOIN_SERVER_NAME } from "@gannet/opcodes";
import { AnswerLost, type RapiCredentials } from "@gannet/rapi-client";
import { z } from "zod";
import type { KnownCluster } from "./config-file.ts";
import { readCredentials } from "./secret-file.ts";

/** Where its files are; others for tests. */
export interface LocalPlaces {
  /** The master's configuration. */
  readonly configuration: string;
  readonly authority: string;
  readonly credentials: string;
}

export const LOCAL_PLACES: LocalPlaces = {
  configuration: SYSTEM_LAYOUT.masterConfigFile,
  authority: path.join(SYSTEM_LAYOUT.caDir, "ca.pem"),
  credentials: SYSTEM_LAYOUT.adminCredentialsFile,
};

export interface LocalCluster extends KnownCluster {
  readonly ca: string;
  readonly serverName: string;
}

/** What of services/master/src/configuration.ts says where the remote API is. */
const masterConfiguration = z.object({
  rapi: z.object({ host: z.string().default("0.0.0.0"), port: z.int().default(SYSTEM_PORTS.rapi) }),
});

/** Where a server is reached from its own machine that listens on all addresses. */
const LOOPBACK: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

/**
 * @returns undefined where no master is on this machine
 * @throws OpPrereqError where there is one, and its files cannot be used
 */
export async function localCluster(places: LocalPlaces): Promise<LocalCluster | undefined> {
  const text = await readFile(places.configuration, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw rootsOnly(error);
  });
  if (text === undefined) return undefined;
  await access(places.authority, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw rootsOnly(error);
  });
  const { host, port } = placeIn(text, places.configuration);
  const url = `https://${hostAndPort({ host: LOOPBACK[host] ?? host, port })}`;
  return { url, ca: places.authority, serverName: JOIN_SERVER_NAME };
}

function placeIn(text: string, file: string): { readonly host: string; readonly port: number } {
  try {
    return masterConfiguration.parse(JSON.parse(text)).rapi;
  } catch (cause) {
    throw new OpPrereqError(
      `${file} does not say where this machine's remote API is: name a cluster by --cluster URL`,
      "environment_error",
      { cause },
    );
  }
}

function rootsOnly(cause: NodeJS.ErrnoException): OpPrereqError {
  return new OpPrereqError(
    `A master is on this machine, and gnt cannot use its files (${cause.message}): only root need not say which ` +
      "cluster and who asks; others say --cluster URL and --credentials FILE",
    "environment_error",
    { cause },
  );
}

/** By which root asks. @throws OpPrereqError with the way out */
export async function localCredentials({ credentials }: LocalPlaces): Promise<RapiCredentials> {
  try {
    return await readCredentials(credentials);
  } catch (cause) {
    if (!(cause instanceof OpPrereqError)) throw cause;
    throw new OpPrereqError(`${cause.message}. ${wayOut(credentials)}`, "environment_error", { cause });
  }
}

/** What a failure to reach the machine's own master, or to be let in, is told as; others as they are. */
export function explainedLocally(error: unknown, { credentials }: LocalPlaces): unknown {
  if (error instanceof HttpError && error.status === 401)
    return new HttpError(401, `${error.message}: ${credentials} does not count (any more). ${wayOut(credentials)}`);
  if (error instanceof AnswerLost)
    return new AnswerLost(
      `${error.message}. This machine's master does not answer (systemctl status gannet-master); another one of the ` +
        "cluster does its work, too: --cluster URL",
      { cause: error },
    );
  return error;
}

function wayOut(file: string): string {
  return (
    `Root's gnt on a master's machine needs one line "USER PASSWORD" there, of a user of ${SYSTEM_LAYOUT.usersFile} ` +
    `(chmod 600 ${file}), or --credentials FILE`
  );
}

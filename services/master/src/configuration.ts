/** The master daemon's own configuration file (JSON); what belongs to the cluster is in the configuration store. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";

const absolutePath = z.string().startsWith("/");

const masterConfiguration = z.strictObject({
  /** Name of the node that this master runs on. */
  nodeName: z.string().min(1),
  /** Redis' address, as `parseRedisAddress` of @gannet/redis reads it. */
  redis: z.string(),
  /** File that holds Redis' password. */
  redisPasswordFile: absolutePath.optional(),
  /** File with the PEM certificate of the authority that signed Redis' certificate. */
  redisCaFile: absolutePath.optional(),
  /** What the master itself keeps: how far the cluster had come when it last looked. */
  stateDir: absolutePath,
  /** Folder with the master's key pair and the cluster's authority, as libs/pki lays it out. */
  identityDir: absolutePath,
  /** The secret that clusters share which move instances to each other; `cluster-domain-secret` in identityDir if absent. */
  domainSecretFile: absolutePath.optional(),
  rapi: z.strictObject({
    host: z.string().default("0.0.0.0"),
    port: z.int().min(1).max(65_535).default(5080),
    usersFile: absolutePath,
    certificateFile: absolutePath,
    keyFile: absolutePath,
  }),
  /** How long a leader that falls silent keeps its office. */
  leaseMs: z.int().min(500).default(5_000),
  logFormat: z.enum(["json", "pretty"]).default("json"),
  logLevel: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
});

export type MasterConfiguration = z.infer<typeof masterConfiguration>;

export function domainSecretFile({ domainSecretFile: named, identityDir }: MasterConfiguration): string {
  return named ?? path.join(identityDir, "cluster-domain-secret");
}

/** @throws OpPrereqError naming the file and the first thing that is wrong with it */
export async function readConfiguration(file: string): Promise<MasterConfiguration> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(file, "utf8"));
  } catch (cause) {
    throw new OpPrereqError(`${file} cannot be read as JSON: ${(cause as Error).message}`, "environment_error", {
      cause,
    });
  }
  const parsed = masterConfiguration.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new OpPrereqError(`${file}: ${issue?.path.join(".")}: ${issue?.message}`, "wrong_input");
}

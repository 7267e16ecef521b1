/** What this master has that another one needs: read when one joins, and kept nowhere. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { domainSecretFile, type MasterConfiguration } from "../configuration.ts";
import { readDomainSecret } from "../domain-secret.ts";
import type { MasterSecrets } from "./joining.ts";

/**
 * @param redis - where the new master finds Redis
 * @throws OpPrereqError (environment_error) where this master has not all of it
 */
export async function masterSecrets(configuration: MasterConfiguration, redis: string): Promise<MasterSecrets> {
  const { caDir, redisPasswordFile, redisCaFile, rapi } = configuration;
  if (caDir === undefined)
    throw new OpPrereqError("This master has not the key of the cluster's authority (caDir)", "environment_error");
  if (redis.startsWith("unix:"))
    throw new OpPrereqError(
      "This cluster's Redis serves one machine only, by a socket: no second master can reach it",
      "environment_error",
    );
  const [caKey, domainSecret, redisPassword, redisCa, users] = await Promise.all([
    readFile(path.join(caDir, "ca.key"), "utf8"),
    readDomainSecret(domainSecretFile(configuration)),
    redisPasswordFile === undefined ? undefined : readFile(redisPasswordFile, "utf8"),
    redisCaFile === undefined ? "" : readFile(redisCaFile, "utf8"),
    readFile(rapi.usersFile, "utf8"),
  ]);
  return { caKey, domainSecret, redisPassword: redisPassword?.trim(), redisCa, users, redis, rapiPort: rapi.port };
}

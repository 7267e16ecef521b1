/** The machine of a master as operators' commands find it: by the configuration file of its daemon. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { below, SYSTEM_LAYOUT } from "@gannet/objects";
import { parseRedisAddress, type RedisAddress } from "@gannet/redis";
import { z } from "zod";

/** What of the master daemon's configuration is read here; the rest is the daemon's own. */
const masterFile = z.looseObject({
  nodeName: z.string().min(1),
  redis: z.string(),
  redisPasswordFile: z.string().optional(),
  redisCaFile: z.string().optional(),
  redisCertificateFile: z.string().optional(),
  redisKeyFile: z.string().optional(),
  stateDir: z.string(),
  identityDir: z.string(),
});

export interface MachineOptions {
  /** Prefix of the system's layout; `/` on a real machine. */
  readonly root: string;
  /** The master daemon's configuration file; where the layout has it when absent. */
  readonly config?: string | undefined;
}

export interface MasterMachine {
  readonly nodeName: string;
  readonly redis: RedisAddress;
  /** The master's state, with its watermark. */
  readonly stateDir: string;
  /** The master's key pair and the cluster's authority. */
  readonly identityDir: string;
}

/** @throws OpPrereqError naming the file and what is wrong with it */
export async function readMasterMachine({ root, config }: MachineOptions): Promise<MasterMachine> {
  const file = config ?? path.join(root, SYSTEM_LAYOUT.masterConfigFile);
  const parsed = masterFile.safeParse(await readJson(file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new OpPrereqError(`${file}: ${issue?.path.join(".")}: ${issue?.message}`, "wrong_input");
  }
  const { nodeName, redis, stateDir, identityDir, ...secrets } = parsed.data;
  const at = (name: string) => below(root, name);
  const text = async (name: string | undefined) =>
    name === undefined ? undefined : (await readText(at(name), "the master's configuration names it")).trim();
  const [password, ca, cert, key] = await Promise.all([
    text(secrets.redisPasswordFile),
    text(secrets.redisCaFile),
    text(secrets.redisCertificateFile),
    text(secrets.redisKeyFile),
  ]);
  return {
    nodeName,
    redis: parseRedisAddress(redis, {
      ...(password === undefined ? {} : { password }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { certificate: { cert, key } }),
    }),
    stateDir: at(stateDir),
    identityDir: at(identityDir),
  };
}

async function readJson(file: string): Promise<unknown> {
  const text = await readText(file, "is there a master on this machine?");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new OpPrereqError(`${file} is not JSON: ${(cause as Error).message}`, "wrong_input", { cause });
  }
}

async function readText(file: string, hint: string): Promise<string> {
  return await readFile(file, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(`${file} cannot be read (${cause.code}): ${hint}`, "environment_error", { cause });
  });
}

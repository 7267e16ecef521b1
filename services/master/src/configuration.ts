/** The master daemon's own configuration file (JSON); what belongs to the cluster is in the configuration store. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import { SYSTEM_PORTS } from "@gannet/objects";
import { z } from "zod";
import { masterServers } from "./leadership/known-servers.ts";
import { DEFAULT_LOGIN_LIMITS, type LoginLimits } from "./rapi/login-limiter.ts";
import { DEFAULT_FILE_ROOTS } from "./rapi/rights.ts";

const absolutePath = z.string().startsWith("/");

const masterConfiguration = z.strictObject({
  /** Name of the node that this master runs on. */
  nodeName: z.string().min(1),
  /** This machine's Redis and Sentinel, which the leader keeps in step with the other masters'. */
  servers: masterServers.optional(),
  /** Redis' address, as `parseRedisAddress` of @gannet/redis reads it. */
  redis: z.string(),
  /** File that holds Redis' password. */
  redisPasswordFile: absolutePath.optional(),
  /** File with the PEM certificate of the authority that signed Redis' certificate. */
  redisCaFile: absolutePath.optional(),
  /** Files with the PEM certificate and key that this master shows to Redis and its sentinels. */
  redisCertificateFile: absolutePath.optional(),
  redisKeyFile: absolutePath.optional(),
  /**
   * How many of Redis' replicas must have what is written before it counts as done: half of the other servers,
   * rounded up; 0 where there is one server. Where the leader looks after the servers it says how many.
   */
  redisReplicasToWait: z.int().min(0).default(0),
  /** How long to wait for them; less than a third of the lease, so that a leader can try twice. */
  redisWaitMs: z.int().min(50).max(5_000).default(1_000),
  /** What the master itself keeps: how far the cluster had come when it last looked. */
  stateDir: absolutePath,
  /** Folder with the master's key pair and the cluster's authority, as libs/pki lays it out. */
  identityDir: absolutePath,
  /**
   * Folder with the cluster's authority and its key, of masters that issue certificates; this master's own are renewed,
   * nodes join, and the authority can be changed only where it is.
   */
  caDir: absolutePath.optional(),
  /** Folder with the certificate of this machine's Redis, which is renewed with the master's. */
  redisTlsDir: absolutePath.optional(),
  /** The secret that clusters share which move instances to each other; `cluster-domain-secret` in identityDir if absent. */
  domainSecretFile: absolutePath.optional(),
  rapi: z.strictObject({
    host: z.string().default("0.0.0.0"),
    port: z.int().min(1).max(65_535).default(5080),
    /** Address by which the other masters reach this one; where it listens, or its node's primary address, if absent. */
    advertisedAddress: z.string().min(1).optional(),
    usersFile: absolutePath,
    certificateFile: absolutePath,
    keyFile: absolutePath,
    /** After `failures` wrong logins of an address, or at a name, within the window the next ones are kept waiting. */
    loginLimit: z
      .strictObject({
        failures: z.int().min(1).default(DEFAULT_LOGIN_LIMITS.failures),
        windowS: z
          .number()
          .positive()
          .default(DEFAULT_LOGIN_LIMITS.windowMs / 1000),
        longestWaitS: z
          .number()
          .min(1)
          .default(DEFAULT_LOGIN_LIMITS.longestWaitMs / 1000),
      })
      .prefault({}),
    /**
     * Option of the users who may set parameters that let a node run any program as root. With `write`, as in Ganeti,
     * who may write may do that.
     */
    rootParameters: z.enum(["root", "write"]).default("root"),
    /** Folders of the nodes in which kernels and images of guests may lie, whoever names them. */
    fileRoots: z.array(absolutePath).default([...DEFAULT_FILE_ROOTS]),
    audit: z
      .strictObject({
        /** `audit.log` in stateDir if absent. */
        file: absolutePath.optional(),
        /** Whether changes go on, or are refused, while nothing can be recorded. */
        whenUnwritable: z.enum(["continue", "refuse"]).default("continue"),
      })
      .prefault({}),
  }),
  /** How long a leader that falls silent keeps its office. */
  leaseMs: z.int().min(500).default(5_000),
  /** What starts instances again that should run, and more of that kind; the same on all masters. */
  watcher: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** Between two looks, in seconds. */
      intervalS: z.number().positive().default(30),
      /** Between two verifications of all disks, in seconds. */
      verifyDisksS: z.number().positive().default(300),
      /** Between two rounds of the site's hooks of the watcher, in seconds. */
      hooksS: z.number().positive().default(300),
    })
    .transform(({ enabled, intervalS, verifyDisksS, hooksS }) => ({
      enabled,
      intervalMs: intervalS * 1000,
      verifyDisksMs: verifyDisksS * 1000,
      hooksMs: hooksS * 1000,
    }))
    .prefault({}),
  /** The watcher starts the instances of a dead node elsewhere when it is proven to be dead; the same on all masters. */
  automaticFailover: z
    .strictObject({
      enabled: z.boolean().default(false),
      /** For how many seconds a node does not answer before anything is done. */
      afterS: z.number().positive().default(60),
      /** After how many seconds without a leader a node stops its guests by itself; 0: nodes do not guard themselves. */
      selfFenceS: z.union([z.literal(0), z.number().min(2)]).default(60),
    })
    .transform(({ enabled, afterS, selfFenceS }) => ({
      enabled,
      afterMs: afterS * 1000,
      selfFenceMs: enabled ? selfFenceS * 1000 : 0,
    }))
    .prefault({}),
  /** Where Prometheus is answered, in plain HTTP; false: nowhere. */
  metrics: z
    .union([
      z.literal(false),
      z.strictObject({
        host: z.string().default("127.0.0.1"),
        port: z.int().min(0).max(65_535).default(SYSTEM_PORTS.masterMetrics),
      }),
    ])
    .prefault({}),
  logFormat: z.enum(["json", "pretty"]).default("json"),
  logLevel: z.enum(["trace", "debug", "info", "warn", "error"]).default("info"),
});

export type MasterConfiguration = z.infer<typeof masterConfiguration>;

export function domainSecretFile({ domainSecretFile: named, identityDir }: MasterConfiguration): string {
  return named ?? path.join(identityDir, "cluster-domain-secret");
}

export function auditFile({ rapi, stateDir }: MasterConfiguration): string {
  return rapi.audit.file ?? path.join(stateDir, "audit.log");
}

export function loginLimits({ rapi: { loginLimit } }: MasterConfiguration): LoginLimits {
  const { failures, windowS, longestWaitS } = loginLimit;
  return { failures, windowMs: windowS * 1000, longestWaitMs: longestWaitS * 1000 };
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

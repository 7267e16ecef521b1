/**
 * The configuration files of a machine's daemons, as whoever sets the machine up writes them: `gannet-admin init`,
 * `gannet-node join` and `gannet-admin join-master`. What is left out is as the daemons have it by default
 * (services/node-agent/src/configuration.ts, services/master/src/configuration.ts). Pure.
 */
import type { MasterServers } from "./master-servers.ts";
import { below, SYSTEM_LAYOUT } from "./system-layout.ts";

export interface AgentFacts {
  readonly nodeName: string;
  /** Where it listens; on all addresses, by its own port, when absent. */
  readonly listen?: { readonly host: string; readonly port: number };
  readonly hypervisors: readonly string[];
  readonly fileStorageDirs: readonly string[];
  readonly sharedFileStorageDirs: readonly string[];
}

/**
 * `node.json`.
 * @param root - prefix of the system's layout, `/` on a real machine
 */
export function agentConfigurationFile(facts: AgentFacts, root: string) {
  const { nodeName, listen, hypervisors, fileStorageDirs, sharedFileStorageDirs } = facts;
  const at = (name: string) => below(root, name);
  return {
    nodeName,
    ...(listen === undefined ? {} : { listen }),
    stateDir: at(SYSTEM_LAYOUT.nodeStateDir),
    pkiDir: at(SYSTEM_LAYOUT.nodeIdentityDir),
    hypervisors,
    fileStorageRoots: fileStorageDirs.map(at),
    sharedFileStorageRoots: sharedFileStorageDirs.map(at),
    // Of several nodes on one machine each keeps its files below its own root, and none restarts the machine.
    ...(root === "/" ? {} : { storageRoot: root, sharedStorageRoot: root, powercycle: false }),
  };
}

export interface MasterFacts {
  readonly nodeName: string;
  /** Of this machine. */
  readonly servers: MasterServers;
  /** By which the master finds Redis when it starts, its own machine's among them; it learns of the others by itself. */
  readonly sentinels: readonly string[];
  /** By which the sentinels know Redis. */
  readonly sentinelName: string;
  readonly rapiPort: number;
}

/** `master.json`. No secret is in it. */
export function masterConfigurationFile(facts: MasterFacts, root: string) {
  const { nodeName, servers, sentinels, sentinelName, rapiPort } = facts;
  const at = (name: string) => below(root, name);
  const redis = identityFiles(at(SYSTEM_LAYOUT.redisTlsDir));
  const rapi = identityFiles(at(SYSTEM_LAYOUT.rapiIdentityDir));
  return {
    nodeName,
    servers,
    redis: `sentinel://${sentinels.join(",")}/${sentinelName}`,
    redisPasswordFile: at(SYSTEM_LAYOUT.redisPasswordFile),
    redisCaFile: redis.ca,
    redisCertificateFile: redis.cert,
    redisKeyFile: redis.key,
    stateDir: at(SYSTEM_LAYOUT.masterStateDir),
    identityDir: at(SYSTEM_LAYOUT.masterIdentityDir),
    caDir: at(SYSTEM_LAYOUT.caDir),
    redisTlsDir: at(SYSTEM_LAYOUT.redisTlsDir),
    rapi: {
      port: rapiPort,
      usersFile: at(SYSTEM_LAYOUT.usersFile),
      certificateFile: rapi.cert,
      keyFile: rapi.key,
      audit: { file: at(SYSTEM_LAYOUT.auditLogFile) },
    },
  };
}

/** By which a master's machine is known to those who connect to its servers, itself among them. */
export function machineNames(nodeAddress: string): readonly string[] {
  return [nodeAddress, "localhost", "127.0.0.1", "::1"];
}

/** As libs/pki lays an identity out. */
function identityFiles(folder: string): Readonly<Record<"ca" | "cert" | "key", string>> {
  return { ca: `${folder}/ca.pem`, cert: `${folder}/cert.pem`, key: `${folder}/key.pem` };
}

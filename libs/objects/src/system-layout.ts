/**
 * Where everything lies on a machine of a real cluster, and which ports are taken there. Daemons' configuration files
 * name these paths; packages, systemd units and `gannet-admin` put things there. Pure strings.
 */
import path from "node:path";

export const SYSTEM_LAYOUT = {
  configurationDir: "/etc/gannet",
  masterConfigFile: "/etc/gannet/master.json",
  nodeConfigFile: "/etc/gannet/node.json",
  /** The first user's `user password`, made with the cluster; what `gnt` uses as root on a master's machine. */
  adminCredentialsFile: "/etc/gannet/admin-credentials",
  /** Users of the remote API. */
  usersFile: "/etc/gannet/rapi/users",
  /** The operator's own certificate of the remote API, where there is one. */
  operatorCertificateFile: "/etc/gannet/rapi/cert.pem",
  operatorKeyFile: "/etc/gannet/rapi/key.pem",

  dataDir: "/var/lib/gannet",
  /** The cluster's authority; masters only. */
  caDir: "/var/lib/gannet/ca",
  masterStateDir: "/var/lib/gannet/master",
  masterIdentityDir: "/var/lib/gannet/master/identity",
  /** The remote API's certificate by the cluster's authority. */
  rapiIdentityDir: "/var/lib/gannet/master/rapi",
  redisPasswordFile: "/var/lib/gannet/master/redis-password",
  redisDir: "/var/lib/gannet/redis",
  /** Written once; the server itself rewrites it. */
  redisConfigFile: "/var/lib/gannet/redis/redis.conf",
  redisTlsDir: "/var/lib/gannet/redis/tls",
  sentinelDir: "/var/lib/gannet/sentinel",
  sentinelConfigFile: "/var/lib/gannet/sentinel/sentinel.conf",
  nodeStateDir: "/var/lib/gannet/node",
  /** On master candidates: the configuration as it was last told, form `exportConfiguration` of @gannet/config-store. */
  configurationSnapshotFile: "/var/lib/gannet/node/configuration.json",
  nodeIdentityDir: "/var/lib/gannet/node-identity",

  /** Who changed what; the master's. */
  auditLogFile: "/var/log/gannet/audit.log",

  /** OS definitions that come with the packages. */
  osDir: "/usr/share/gannet/os",
  programDir: "/usr/lib/gannet",
  commandDir: "/usr/bin",
  systemCommandDir: "/usr/sbin",
} as const;

/** The user, and the group of the same name, that the daemons of a master's machine run as. */
export const SYSTEM_USER = "gannet";

export const SYSTEM_PORTS = {
  rapi: 5080,
  agent: 1811,
  redis: 1812,
  sentinel: 1813,
  /** On the loopback interface by default. */
  masterMetrics: 9105,
  agentMetrics: 9106,
} as const;

/** A path of the system below another root, where several machines share one; one that lies there already stays. */
export function below(root: string, name: string): string {
  const prefix = path.resolve(root);
  return prefix === "/" || name === prefix || name.startsWith(`${prefix}/`) ? name : path.join(prefix, name);
}

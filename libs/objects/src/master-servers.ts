/** The Redis and the Sentinel that each master's machine runs for the cluster, and what follows from their number. */

/** The servers that a master's machine runs for the cluster: `address:port`, IPv6 in brackets. */
export interface MasterServers {
  readonly redis: string;
  readonly sentinel: string;
}

/** What follows from the number of masters, each with a Redis and a Sentinel. */
export interface ReplicationNumbers {
  /** Sentinels that must find the primary gone: a majority. */
  readonly quorum: number;
  /** Replicas that must have a write, so that with the primary they are a majority: 0 of one server. */
  readonly replicasToWrite: number;
}

export function replicationOf(masters: number): ReplicationNumbers {
  return { quorum: Math.floor(masters / 2) + 1, replicasToWrite: Math.floor(masters / 2) };
}

/** `address:port`, with brackets around IPv6. */
export function hostAndPort({ host, port }: { readonly host: string; readonly port: number }): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

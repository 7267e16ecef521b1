/** What is true of the running program rather than of the configuration. */

/** Versions that clients compare (spec/rapi.json, `special.info_fields`). */
export interface VersionFacts {
  readonly softwareVersion: string;
  /** `major * 1000000 + minor * 10000 + revision`, of the release whose interface this is. */
  readonly protocolVersion: number;
  readonly configVersion: number;
  readonly osApiVersion: number;
  readonly exportVersion: number;
  readonly vcsVersion: string;
  /** `["64bits", "x86_64"]` */
  readonly architecture: readonly [bits: string, machine: string];
}

/** The state of the queue and the watcher. */
export interface ClusterFacts extends VersionFacts {
  readonly queueDrained: boolean;
  /** Seconds since 1970; null while the watcher is not paused. */
  readonly watcherPausedUntil: number | null;
}

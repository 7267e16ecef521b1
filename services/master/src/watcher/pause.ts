/** The watcher's pause, which is a part of the configuration: all masters know of it. */
import type { ConfigView } from "@gannet/objects";

/** In seconds since 1970; null while it is not paused. */
export function watcherPausedUntil({ cluster }: ConfigView, nowS: number): number | null {
  const until = cluster.watcherPausedUntil ?? 0;
  return until > nowS ? until : null;
}

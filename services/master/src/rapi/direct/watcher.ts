/** `/2/watcher`: what the watcher sees and does, and its pause (`gnt-cluster watcher`, gnt-cluster(8)). */
import type { WatcherPauseBody } from "@gannet/opcodes";
import { guardedNodes } from "../../watcher/failover/self-fence-keeper.ts";
import { watcherPausedUntil } from "../../watcher/pause.ts";
import { nextTryS } from "../../watcher/tries.ts";
import { recall } from "../../watcher/watcher-memory.ts";
import { jsonAnswer } from "../answers.ts";
import type { DirectContext } from "../direct-context.ts";
import type { Handlers } from "../handlers.ts";
import { leadersFence } from "../leaders-fence.ts";

export function watcherHandlers(context: DirectContext): Handlers {
  const { configStore, leader, notes, watcher, automaticFailover, clock } = context;
  const pauseUntil = async (until: number | undefined) => {
    const view = await configStore.commit(
      ({ cluster: { watcherPausedUntil: _former, ...cluster } }) => {
        const put = until === undefined ? cluster : { ...cluster, watcherPausedUntil: until };
        return [{ kind: "cluster", put }];
      },
      leadersFence(leader, "changes the watcher's pause"),
    );
    return jsonAnswer({ paused_until: watcherPausedUntil(view, clock() / 1000) });
  };

  return {
    watcher: async () => {
      const { lookedAtS, waits, deeds, tries, hooks } = await recall(notes);
      const guarded = await guardedNodes(notes);
      return jsonAnswer({
        enabled: watcher.enabled,
        interval: watcher.intervalMs / 1000,
        paused_until: watcherPausedUntil(configStore.view, clock() / 1000),
        last_look: lookedAtS,
        automatic_failover: automaticFailover.enabled,
        self_fenced_nodes: guarded.flatMap((uuid) => configStore.view.findNode(uuid)?.name ?? []).sort(),
        waits,
        deeds: deeds.map(({ atS, ...deed }) => ({ time: atS, ...deed })),
        tries: tries.map(({ action, instance, count, lastS }) => ({
          ...{ action, instance, count, last: lastS },
          next: nextTryS({ count, lastS }),
        })),
        hook_problems: hooks.problems.map(({ atS, ...problem }) => ({ time: atS, ...problem })),
      });
    },
    pauseWatcher: ({ body }) => pauseUntil(clock() / 1000 + (body as WatcherPauseBody).duration),
    resumeWatcher: () => pauseUntil(undefined),
  };
}

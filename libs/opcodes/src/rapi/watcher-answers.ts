/** What `/2/watcher` answers. Times are seconds since 1970. */
import { z } from "zod";

const text = z.string();
const seconds = z.number();

export const watcherPauseAnswer = z.strictObject({ paused_until: seconds.nullable() });

export const watcherAnswer = z
  .strictObject({
    /** Whether this master, when it leads, has a watcher at all. */
    enabled: z.boolean(),
    /** Seconds between two looks. */
    interval: seconds,
    paused_until: seconds.nullable(),
    /** Null: no leader has looked yet. */
    last_look: seconds.nullable(),
    /** Whether instances of a dead node are started elsewhere without being asked. */
    automatic_failover: z.boolean(),
    /** Names of nodes that stop their guests by themselves when no leader reaches them. */
    self_fenced_nodes: z.array(text),
    /** What is not as it should be, or would be done, and why it is left alone for now; as of the last look. */
    waits: z.array(
      z.strictObject({ kind: z.enum(["cluster", "group", "instance", "node"]), name: text, reason: text }),
    ),
    /** What was done, the newest last. */
    deeds: z.array(z.strictObject({ time: seconds, action: text, name: text, job: z.int(), reason: text })),
    /** What was tried for instances that have not recovered yet. */
    tries: z.array(z.strictObject({ action: text, instance: text, count: z.int(), last: seconds, next: seconds })),
    /** The site's hooks of the watcher that failed in their last round; `script` null: the node did not run them. */
    hook_problems: z.array(z.strictObject({ time: seconds, node: text, script: text.nullable(), problem: text })),
  })
  .meta({ id: "Watcher", description: "What the watcher sees, does and waits with." });

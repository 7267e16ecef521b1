/** Whether this master can do its work: lead, or take the leader's place. */
import type { Leadership } from "@gannet/locking";
import type { Readiness } from "@gannet/telemetry";
import type { RedisGuard } from "../leader-watermark-guard.ts";

export function readinessOf(
  { isTrusted, refusal }: Pick<RedisGuard, "isTrusted" | "refusal">,
  leadership: Leadership | undefined,
): Readiness {
  if (!isTrusted) return { ready: false, state: { reason: refusal?.message ?? "Redis is not reachable" } };
  if (leadership === undefined || leadership.lost.aborted) return { ready: true, state: { role: "standby" } };
  return { ready: true, state: { role: "leader", epoch: leadership.epoch } };
}

/** The one word that says how an instance is (spec/query-fields.json, `status_rules`). */
import type { AdminState, AdminStateSource } from "@gannet/objects";
import type { LiveInstance } from "./live-values.ts";

export const INSTANCE_STATUSES = [
  "running",
  "ADMIN_down",
  "ADMIN_offline",
  "ERROR_down",
  "ERROR_nodedown",
  "ERROR_nodeoffline",
  "ERROR_up",
  "ERROR_wrongnode",
  "USER_down",
] as const;
export type InstanceStatus = (typeof INSTANCE_STATUSES)[number];

/** Everything that the status depends on. */
export interface StatusFacts {
  readonly adminState: AdminState;
  readonly adminStateSource: AdminStateSource;
  readonly primaryOffline: boolean;
  readonly primaryReachable: boolean;
  /** What was last seen of the guest; undefined when it was seen nowhere. */
  readonly seen: (Pick<LiveInstance, "status"> & { readonly onPrimary: boolean }) | undefined;
  /** The cluster lets users shut their instances down from inside. */
  readonly clusterUserShutdown: boolean;
  /** So does the hypervisor of this instance; kvm asks for its parameter `user_shutdown` as well. */
  readonly hypervisorUserShutdown: boolean;
}

export function instanceStatus(facts: StatusFacts): InstanceStatus {
  const { seen } = facts;
  if (facts.primaryOffline) return "ERROR_nodeoffline";
  if (seen === undefined) return facts.primaryReachable ? absentStatus(facts) : "ERROR_nodedown";
  if (!seen.onPrimary) return "ERROR_wrongnode";
  if (isRunning(seen)) return facts.adminState === "up" ? "running" : "ERROR_up";
  return stoppedStatus(facts, seen.status);
}

/** Whether a guest that was seen is a running one, be it paused. */
export function isRunning(seen: Pick<LiveInstance, "status">): boolean {
  return seen.status === "running" || seen.status === "paused";
}

/** The guest was seen on its primary node, ended. A crash is nothing that its user asked for. */
function stoppedStatus(facts: StatusFacts, status: LiveInstance["status"]): InstanceStatus {
  if (facts.adminState !== "up") return "ADMIN_down";
  const byUser = status === "shutdown" && facts.clusterUserShutdown && facts.hypervisorUserShutdown;
  return byUser ? "USER_down" : "ERROR_down";
}

/** Its primary node answers and knows nothing of it. */
function absentStatus({ adminState, adminStateSource, clusterUserShutdown }: StatusFacts): InstanceStatus {
  if (adminState === "up") return "ERROR_down";
  if (adminState === "offline") return "ADMIN_offline";
  return adminStateSource === "user" && clusterUserShutdown ? "USER_down" : "ADMIN_down";
}

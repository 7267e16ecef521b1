/** Which instances are not as they should be, by the configuration and what agents have reported; pure. */
import type { ConfigView, Instance } from "@gannet/objects";
import { type InstanceStatus, type LiveValues, statusOfInstance } from "@gannet/query";

/** `note user shutdown`: it was shut down from inside, where that is honoured (spec/query-fields.json). */
export type Remedy = "start" | "note user shutdown";

/** An instance, and what is to be done with it. */
export interface Ailing {
  readonly instance: Instance;
  readonly remedy: Remedy;
}

const REMEDIES: Partial<Record<InstanceStatus, Remedy>> = { ERROR_down: "start", USER_down: "note user shutdown" };

/** What a person has to judge, in words. */
const LEFT_ALONE: Partial<Record<InstanceStatus, string>> = {
  ERROR_nodedown: "its primary node does not answer",
  ERROR_nodeoffline: "its primary node is marked offline",
  ERROR_up: "it runs and is marked to be down",
  ERROR_wrongnode: "it runs on a node that is not its primary",
};

export interface Judgement {
  readonly ailing: readonly Ailing[];
  readonly leftAlone: readonly { readonly instance: Instance; readonly reason: string }[];
}

export function judgeInstances(view: ConfigView, live: LiveValues): Judgement {
  const ailing: Ailing[] = [];
  const leftAlone: { instance: Instance; reason: string }[] = [];
  for (const instance of view.instances.values()) {
    if (instance.forthcoming || instance.adminState === "offline") continue;
    const status = statusOfInstance(view, live, instance);
    const remedy = instance.adminState === "up" ? REMEDIES[status] : undefined;
    const reason = instance.adminState === "up" || status === "ERROR_up" ? LEFT_ALONE[status] : undefined;
    if (remedy !== undefined) ailing.push({ instance, remedy });
    else if (reason !== undefined) leftAlone.push({ instance, reason });
  }
  return { ailing, leftAlone };
}

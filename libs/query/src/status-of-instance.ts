/** An instance's status, for who has no query. */
import type { ConfigView, Instance } from "@gannet/objects";
import { InstanceContext } from "./fields/instance-context.ts";
import type { InstanceStatus } from "./instance-status.ts";
import type { LiveValues } from "./live-values.ts";

/** As the field `status` shows it. */
export function statusOfInstance(view: ConfigView, live: LiveValues, instance: Instance): InstanceStatus {
  return new InstanceContext(instance, view, live).status;
}

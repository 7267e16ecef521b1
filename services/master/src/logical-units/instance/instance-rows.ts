/** Configuration changes of one instance, as pure functions from a view to changes. */
import type { ConfigChange } from "@gannet/config-store";
import { type ConfigView, freePort, type Instance, type InstanceUuid } from "@gannet/objects";

/** Change an instance's row, if it is still there. */
export function withInstance(
  view: ConfigView,
  uuid: InstanceUuid,
  change: (instance: Instance) => Instance,
): readonly ConfigChange[] {
  const row = view.instances.get(uuid);
  return row === undefined ? [] : [{ kind: "instance", put: change(row) }];
}

/** Remove an instance with its disks, and give its TCP port back to the cluster's pool. */
export function removeInstanceRows(view: ConfigView, uuid: InstanceUuid): readonly ConfigChange[] {
  const instance = view.instances.get(uuid);
  if (instance === undefined) return [];
  const changes: ConfigChange[] = view.disksOf(instance).map((disk) => ({ kind: "disk", remove: disk }));
  changes.push({ kind: "instance", remove: instance });
  if (instance.networkPort !== null) {
    changes.push({ kind: "cluster", put: { ...view.cluster, ...freePort(view.cluster, instance.networkPort) } });
  }
  return changes;
}

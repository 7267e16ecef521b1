/** Configuration changes of one instance, as pure functions from a view to changes. */
import type { ConfigChange } from "@gannet/config-store";
import {
  type ConfigView,
  type Disk,
  type DiskUuid,
  drbdIdOf,
  freePort,
  type Instance,
  type InstanceUuid,
} from "@gannet/objects";
import { AddressPools } from "./nic-addresses.ts";

/** Change an instance's row, if it is still there. */
export function withInstance(
  view: ConfigView,
  uuid: InstanceUuid,
  change: (instance: Instance) => Instance,
): readonly ConfigChange[] {
  const row = view.instances.get(uuid);
  return row === undefined ? [] : [{ kind: "instance", put: change(row) }];
}

/** Remove an instance with its disks, and give their TCP ports and its NICs' addresses back to their pools. */
export function removeInstanceRows(view: ConfigView, uuid: InstanceUuid): readonly ConfigChange[] {
  const instance = view.instances.get(uuid);
  if (instance === undefined) return [];
  const disks = view.disksOf(instance);
  const port = instance.networkPort === null ? [] : [instance.networkPort];
  const pools = new AddressPools(view);
  for (const nic of instance.nics) pools.release(nic);
  return [
    ...disks.map((disk): ConfigChange => ({ kind: "disk", remove: disk })),
    { kind: "instance", remove: instance },
    ...pools.changes(),
    ...freePorts(view, [...port, ...portsOf(disks)]),
  ];
}

/** Remove disks that no instance has, or has any longer, with their TCP ports. */
export function removeDiskRows(view: ConfigView, uuids: readonly DiskUuid[]): readonly ConfigChange[] {
  const disks = uuids.flatMap((uuid) => view.disks.get(uuid) ?? []);
  return [...disks.map((disk): ConfigChange => ({ kind: "disk", remove: disk })), ...freePorts(view, portsOf(disks))];
}

/** TCP ports that disks hold: a DRBD disk has one. */
function portsOf(disks: readonly Disk[]): readonly number[] {
  return disks.filter(({ template }) => template === "drbd").map((disk) => drbdIdOf(disk).port);
}

function freePorts(view: ConfigView, ports: readonly number[]): readonly ConfigChange[] {
  if (ports.length === 0) return [];
  return [{ kind: "cluster", put: { ...view.cluster, ...ports.reduce(freePort, view.cluster) } }];
}

/** Instances and networks as hooks are told of them (spec/os-iallocator-hooks.json, `env_instance`, `env_network`). */
import {
  type ConfigView,
  type Disk,
  filledBeparams,
  filledHvparams,
  type Instance,
  type Network,
  type Nic,
  nicparamsOf,
} from "@gannet/objects";
import type { HookEnvironment, HookValue } from "./hook-plan.ts";

/**
 * @param disks - the instance's; of one that is not in the configuration yet, as they will be
 */
export function instanceEnvironment(
  view: ConfigView,
  instance: Instance,
  disks: readonly HookDisk[] = view.disksOf(instance),
): HookEnvironment {
  const beparams = filledBeparams(view.cluster, instance);
  const secondaries = view.secondaryNodes(instance).map((uuid) => view.nodes.get(uuid)?.name ?? uuid);
  return {
    OP_TARGET: instance.name,
    INSTANCE_NAME: instance.name,
    INSTANCE_PRIMARY: view.nodes.get(instance.primaryNode)?.name ?? instance.primaryNode,
    INSTANCE_SECONDARIES: secondaries,
    INSTANCE_OS_TYPE: instance.os,
    INSTANCE_STATUS: instance.adminState,
    INSTANCE_MINMEM: beparams.minmem ?? null,
    INSTANCE_MAXMEM: beparams.maxmem ?? null,
    // As it was called before there were two bounds.
    INSTANCE_MEMORY: beparams.maxmem ?? null,
    INSTANCE_VCPUS: beparams.vcpus ?? null,
    INSTANCE_DISK_TEMPLATE: instance.diskTemplate,
    INSTANCE_HYPERVISOR: instance.hypervisor,
    INSTANCE_NIC_COUNT: instance.nics.length,
    ...prefixed("INSTANCE_NIC", instance.nics, (nic) => nicEnvironment(view, instance, nic)),
    INSTANCE_DISK_COUNT: disks.length,
    ...prefixed("INSTANCE_DISK", disks, diskEnvironment),
    INSTANCE_TAGS: instance.tags,
    ...named("INSTANCE_BE_", beparams),
    ...named("INSTANCE_HV_", filledHvparams(view.cluster, instance)),
  };
}

export function networkEnvironment(network: Omit<Network, "uuid" | "ctime" | "mtime" | "serialNo">): HookEnvironment {
  return {
    NETWORK_NAME: network.name,
    NETWORK_SUBNET: network.network,
    NETWORK_GATEWAY: network.gateway ?? "",
    NETWORK_SUBNET6: network.network6 ?? "",
    NETWORK_GATEWAY6: network.gateway6 ?? "",
    NETWORK_MAC_PREFIX: network.macPrefix ?? "",
    NETWORK_TAGS: network.tags,
  };
}

function nicEnvironment(view: ConfigView, instance: Instance, nic: Nic): HookEnvironment {
  const filled = nicparamsOf(view, instance, nic);
  const network = nic.network === null ? undefined : view.networks.get(nic.network);
  return {
    NAME: nic.name ?? "",
    UUID: nic.uuid,
    IP: nic.ip ?? "",
    MAC: nic.mac,
    MODE: filled.mode ?? "",
    LINK: filled.link ?? "",
    VLAN: filled.vlan ?? "",
    ...(filled.mode === "bridged" ? { BRIDGE: filled.link ?? "" } : {}),
    ...(network === undefined ? {} : networkEnvironment(network)),
  };
}

/** What is told of a disk, which may not be made yet. */
export type HookDisk = Pick<Disk, "uuid" | "name" | "sizeMib" | "mode" | "template" | "logicalId" | "children">;

function diskEnvironment(disk: HookDisk): HookEnvironment {
  return {
    NAME: disk.name ?? "",
    UUID: disk.uuid,
    SIZE: disk.sizeMib,
    MODE: disk.mode,
    ...placeOf(disk),
  };
}

/** Where the disk is; never all of its logical id, which holds a DRBD disk's secret. */
function placeOf({ template, logicalId, children }: HookDisk): HookEnvironment {
  const [first = "", second = ""] = logicalId;
  switch (template) {
    case "plain":
      return { VG: first, ID: second };
    case "drbd": {
      const [data, metadata] = children;
      return {
        DATA_VG: data?.logicalId[0] ?? "",
        DATA_ID: data?.logicalId[1] ?? "",
        META_VG: metadata?.logicalId[0] ?? "",
        META_ID: metadata?.logicalId[1] ?? "",
      };
    }
    case "file":
    case "sharedfile":
    case "gluster":
      return { DRIVER: first, ID: second };
    case "blockdev":
    case "rbd":
      return { DRIVER: first, ID: second };
    case "ext":
      return { PROVIDER: first, ID: second };
    case "diskless":
      return {};
  }
}

function prefixed<Item>(
  prefix: string,
  items: readonly Item[],
  of: (item: Item) => HookEnvironment,
): Record<string, HookValue> {
  return Object.fromEntries(items.flatMap((item, index) => Object.entries(named(`${prefix}${index}_`, of(item)))));
}

function named(prefix: string, values: HookEnvironment): Record<string, HookValue> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [`${prefix}${name}`, value]));
}

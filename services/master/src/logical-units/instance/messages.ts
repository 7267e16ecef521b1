/** An instance of the configuration as the messages its agent is sent, with every inherited parameter filled in. */
import {
  type ChildDisk,
  type ConfigView,
  type Disk,
  filledBeparams,
  filledDiskparams,
  filledHvparams,
  type Instance,
  nicparamsOf,
} from "@gannet/objects";
import { type BlockDevice, encodeParameters, type Instance as InstanceMessage, type Nic } from "@gannet/rpc";

/** One disk of an instance, as agents know disks. */
export function blockDeviceMessage(
  view: ConfigView,
  instance: Instance,
  disk: Disk | ChildDisk,
  index: number,
): BlockDevice {
  const node = view.nodes.get(instance.primaryNode);
  const group = node === undefined ? null : (view.groups.get(node.group) ?? null);
  const inherited = filledDiskparams(view.cluster, group, disk.template);
  return {
    uuid: disk.uuid,
    template: disk.template,
    logicalId: disk.logicalId.map(String),
    sizeMib: disk.sizeMib,
    mode: disk.mode,
    instanceName: instance.name,
    index,
    params: encodeParameters({ ...inherited, ...disk.params }),
    children: "children" in disk ? disk.children.map((child) => blockDeviceMessage(view, instance, child, index)) : [],
  };
}

export function instanceMessage(view: ConfigView, instance: Instance): InstanceMessage {
  const beparams = filledBeparams(view.cluster, instance);
  const hvparams = filledHvparams(view.cluster, instance);
  return {
    name: instance.name,
    uuid: instance.uuid,
    hypervisor: instance.hypervisor,
    maxMemoryMib: Number(beparams.maxmem),
    startMemoryMib: Number(beparams.maxmem),
    vcpus: Number(beparams.vcpus),
    disks: view.disksOf(instance).map((disk, index) => blockDeviceMessage(view, instance, disk, index)),
    nics: instance.nics.map((nic): Nic => {
      const params = nicparamsOf(view, instance, nic);
      return {
        uuid: nic.uuid,
        name: nic.name ?? "",
        mac: nic.mac,
        ip: nic.ip ?? "",
        mode: String(params.mode),
        link: String(params.link),
        vlan: String(params.vlan ?? ""),
      };
    }),
    hvparams: encodeParameters(hvparams),
    networkPort: instance.networkPort ?? 0,
  };
}

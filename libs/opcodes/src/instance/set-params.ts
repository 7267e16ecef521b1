import { command, defineOpcode } from "../define.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

export const InstanceSetParams = defineOpcode({
  id: "OP_INSTANCE_SET_PARAMS",
  doc: "Change parameters, disks and network interfaces of an instance.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    force: p.force,
    force_variant: p.forceVariant,
    ignore_ipolicy: p.ignoreIpolicy,
    nics: p.withDefault(p.modifications(p.nicParams), [], "Changes of network interfaces."),
    disks: p.withDefault(p.modifications(p.diskParams), [], "Changes of disks."),
    beparams: p.beparams,
    runtime_mem: p.optional(p.positiveSize, "Memory of the running guest, in MiB or with a unit."),
    hvparams: p.hvparams,
    disk_template: p.diskTemplate,
    ext_params: p.withDefault(p.parameters, {}, "Parameters of an external storage provider."),
    file_driver: p.fileDriver,
    file_storage_dir: p.fileStorageDir,
    pnode: p.optional(p.hostName, "The new primary node, for disks that every node reaches."),
    pnode_uuid: p.uuid,
    remote_node: p.remoteNode,
    remote_node_uuid: p.uuid,
    iallocator: p.iallocator,
    os_name: p.osType,
    osparams: p.osparams,
    osparams_private: p.osparamsPrivate,
    wait_for_sync: p.waitForSync,
    offline: p.optionalFlag("Mark the stopped instance offline, or no longer so."),
    conflicts_check: p.conflictsCheck,
    hotplug: p.flag("Change devices of the running guest too.", { default: true }),
    instance_communication: p.optionalFlag("Give the guest an interface to talk to its node, or take it away."),
  },
  result: r.changes,
  summary: "instance_name",
  rapi: [
    put("/2/instances/:instance_name/modify", {
      aliases: {
        custom_beparams: "beparams",
        custom_hvparams: "hvparams",
        // 3.0's word for what `hotplug` means from 3.1 on.
        hotplug_if_possible: "hotplug",
      },
    }),
  ],
  cli: command("instance modify", { args: ["instance_name"] }),
});

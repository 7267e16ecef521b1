import { DISK_TEMPLATES, HYPERVISORS } from "@gannet/objects";
import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { SIMPLE_MODIFICATIONS } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { put } from "../route.ts";

const hvparamsByHypervisor = z.partialRecord(z.enum(HYPERVISORS), p.parameters);
const uidRanges = z.array(z.tuple([z.int(), z.int()]));
const osListChanges = z.array(z.tuple([z.enum(SIMPLE_MODIFICATIONS), p.fileName]));

export const ClusterSetParams = defineOpcode({
  id: "OP_CLUSTER_SET_PARAMS",
  doc: "Change parameters of the cluster.",
  params: {
    force: p.force,
    hv_state: p.hvState,
    disk_state: p.diskState,
    vg_name: p.optional(p.volumeGroupOrEmpty, "Volume group for LVM disks; empty: no LVM."),
    enabled_hypervisors: p.optional(z.array(z.enum(HYPERVISORS)).min(1), "Hypervisors in use, the default one first."),
    hvparams: p.optional(hvparamsByHypervisor, "Hypervisor parameters, by hypervisor."),
    beparams: p.optional(p.parameters, "Backend parameters."),
    os_hvp: p.optional(z.record(p.fileName, hvparamsByHypervisor), "Hypervisor parameters, by OS and hypervisor."),
    osparams: p.optional(z.record(p.fileName, p.parameters), "OS parameters, by OS."),
    osparams_private_cluster: p.osparamsPrivateCluster,
    diskparams: p.diskparams,
    candidate_pool_size: p.optional(p.positive, "How many nodes are to be master candidates."),
    max_running_jobs: p.optional(p.positive, "How many jobs may run at once."),
    max_tracked_jobs: p.optional(p.positive, "How many jobs are watched at once."),
    uid_pool: p.optional(uidRanges, "User ids that guests may run as, `[first, last]` each."),
    add_uids: p.optional(uidRanges, "Ranges to add to the user ids."),
    remove_uids: p.optional(uidRanges, "Ranges to take from the user ids."),
    maintain_node_health: p.optionalFlag("Let the watcher clean up nodes."),
    prealloc_wipe_disks: p.optionalFlag("Wipe disks before instances get them."),
    nicparams: p.optional(p.nicParams, "Defaults of network interfaces."),
    ndparams: p.ndparams,
    ipolicy: p.ipolicy,
    drbd_helper: p.optional(p.absolutePathOrEmpty, "DRBD's usermode helper; empty: no DRBD."),
    default_iallocator: p.optional(z.union([z.literal(""), p.fileName]), "The default allocator; empty: none."),
    default_iallocator_params: p.optional(p.anyObject, "Parameters of the default allocator."),
    mac_prefix: p.optional(p.macPrefix, "First three bytes of new MAC addresses."),
    master_netdev: p.optional(p.netdevOrEmpty, "Interface that carries the cluster's address."),
    master_netmask: p.optional(p.nonNegative, "Prefix length of the cluster's address."),
    reserved_lvs: p.optionalList(p.nonEmptyLine, "Patterns of volumes that are not Gannet's."),
    hidden_os: p.optional(osListChanges, "Changes of the list of hidden OSes, `[operation, OS]` each."),
    blacklisted_os: p.optional(osListChanges, "Changes of the list of blacklisted OSes, `[operation, OS]` each."),
    use_external_mip_script: p.optionalFlag("Let a site's own script handle the cluster's address."),
    enabled_disk_templates: p.optional(z.array(z.enum(DISK_TEMPLATES)).min(1), "Disk templates in use."),
    modify_etc_hosts: p.optionalFlag("Keep the nodes' /etc/hosts."),
    file_storage_dir: p.optional(p.absolutePathOrEmpty, "Root of file-based disks; empty: none."),
    shared_file_storage_dir: p.optional(p.absolutePathOrEmpty, "Root of file-based disks on shared storage."),
    gluster_storage_dir: p.optional(p.absolutePathOrEmpty, "Where the Gluster volume is mounted."),
    install_image: p.optional(p.line, "Image, file or URL, of the machine that installs guests safely."),
    instance_communication_network: p.optional(
      z.union([z.literal(""), p.plainName]),
      "Network between guests and nodes; empty: none.",
    ),
    zeroing_image: p.optional(p.line, "Image, file or URL, of the machine that zeroes free space."),
    compression_tools: p.optionalList(p.fileName, "Tools that may compress transfers."),
    enabled_user_shutdown: p.optionalFlag("Tell a guest's own shutdown from a crash."),
    enabled_data_collectors: p.optional(z.record(p.keyName, z.boolean()), "Data collectors, on or off."),
    data_collector_interval: p.optional(
      z.record(p.keyName, z.int()),
      "Interval of each data collector, in microseconds.",
    ),
  },
  result: z.union([r.nothing, r.jobIdList]),
  summary: null,
  rapi: [put("/2/modify", { handler: "cluster_modify", forbidden: ["compression_tools"] })],
  cli: command("cluster modify"),
});

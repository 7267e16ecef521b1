/** The object that `/2/info` and OP_CLUSTER_QUERY answer (spec/rapi.json, `special.info_fields`). */
import type { ConfigView } from "@gannet/objects";
import { allDiskparams, groupNdparams, HYPERVISORS, inheritedBeparams, inheritedHvparams } from "@gannet/objects";
import type { VersionFacts } from "./cluster-facts.ts";

const IP_VERSION_OF_FAMILY = { 2: 4, 10: 6 } as const;

/**
 * Everything about the cluster. Hypervisor and disk parameters are complete for every hypervisor and
 * template, also for those that are not enabled, as clients expect; private OS parameters are not shown.
 */
export function clusterInfo(view: ConfigView, versions: VersionFacts): Readonly<Record<string, unknown>> {
  const { cluster } = view;
  const volumeGroupName = cluster.volumeGroupName || null;
  const drbdUsermodeHelper = cluster.drbdUsermodeHelper || null;
  const collectors = Object.entries(cluster.dataCollectors);
  return {
    software_version: versions.softwareVersion,
    protocol_version: versions.protocolVersion,
    config_version: versions.configVersion,
    os_api_version: versions.osApiVersion,
    export_version: versions.exportVersion,
    vcs_version: versions.vcsVersion,
    architecture: versions.architecture,
    name: cluster.name,
    master: view.nodes.get(cluster.masterNode)?.name ?? null,
    default_hypervisor: cluster.enabledHypervisors[0] ?? null,
    enabled_hypervisors: cluster.enabledHypervisors,
    hvparams: Object.fromEntries(HYPERVISORS.map((name) => [name, inheritedHvparams(cluster, name, null)])),
    os_hvp: cluster.osHvp,
    beparams: { default: inheritedBeparams(cluster) },
    osparams: cluster.osparams,
    ipolicy: cluster.ipolicy,
    nicparams: { default: cluster.nicparams },
    ndparams: groupNdparams(cluster, { ndparams: {} }),
    diskparams: allDiskparams(cluster, null),
    candidate_pool_size: cluster.candidatePoolSize,
    max_running_jobs: cluster.maxRunningJobs,
    max_tracked_jobs: cluster.maxTrackedJobs,
    mac_prefix: cluster.macPrefix,
    master_netdev: cluster.masterNetdev,
    master_netmask: cluster.masterNetmask,
    use_external_mip_script: cluster.useExternalMipScript,
    volume_group_name: volumeGroupName,
    drbd_usermode_helper: drbdUsermodeHelper,
    file_storage_dir: cluster.fileStorageDir,
    shared_file_storage_dir: cluster.sharedFileStorageDir,
    gluster_storage_dir: cluster.glusterStorageDir,
    maintain_node_health: cluster.maintainNodeHealth,
    ctime: cluster.ctime,
    mtime: cluster.mtime,
    uuid: cluster.uuid,
    tags: cluster.tags,
    uid_pool: cluster.uidPool,
    default_iallocator: cluster.defaultIallocator,
    default_iallocator_params: cluster.defaultIallocatorParams,
    reserved_lvs: cluster.reservedLvs,
    primary_ip_version: IP_VERSION_OF_FAMILY[cluster.primaryIpFamily],
    prealloc_wipe_disks: cluster.preallocWipeDisks,
    hidden_os: cluster.hiddenOs,
    blacklisted_os: cluster.blacklistedOs,
    enabled_disk_templates: cluster.enabledDiskTemplates,
    install_image: cluster.installImage,
    instance_communication_network: cluster.instanceCommunicationNetwork,
    zeroing_image: cluster.zeroingImage,
    compression_tools: cluster.compressionTools,
    enabled_user_shutdown: cluster.enabledUserShutdown,
    enabled_data_collectors: Object.fromEntries(collectors.map(([name, { active }]) => [name, active])),
    data_collector_interval: Object.fromEntries(collectors.map(([name, { interval }]) => [name, interval])),
    modify_ssh_setup: cluster.modifySshSetup,
    ssh_key_type: cluster.sshKeyType,
    ssh_key_bits: cluster.sshKeyBits,
    // Both names of each are in Ganeti's answer.
    vg_name: volumeGroupName,
    drbd_helper: drbdUsermodeHelper,
  };
}

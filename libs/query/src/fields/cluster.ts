/** Fields of the cluster; there is one row. */
import type { ConfigView } from "@gannet/objects";
import type { ClusterFacts } from "../cluster-facts.ts";
import type { Field } from "../field.ts";
import { optional, stored } from "../field.ts";
import { available } from "../result-status.ts";

export interface ClusterContext {
  readonly view: ConfigView;
  readonly facts: ClusterFacts;
}

export const CLUSTER_FIELDS: readonly Field<ClusterContext>[] = [
  stored("name", "Name", "text", "Name of the cluster", ({ view }) => view.cluster.name, { match: "host" }),
  stored("cluster_name", "Name", "text", "Name of the cluster", ({ view }) => view.cluster.name, { match: "host" }),
  stored("architecture", "ArchInfo", "other", "Architecture of the master", ({ facts }) => facts.architecture),
  stored(
    "config_version",
    "ConfigVersion",
    "number",
    "Version of the configuration",
    ({ facts }) => facts.configVersion,
  ),
  stored("ctime", "CTime", "timestamp", "When the cluster was created", ({ view }) => view.cluster.ctime),
  stored(
    "drain_flag",
    "QueueDrained",
    "bool",
    "Whether the queue takes no new jobs",
    ({ facts }) => facts.queueDrained,
  ),
  stored("export_version", "ExportVersion", "number", "Version of exports", ({ facts }) => facts.exportVersion),
  optional(
    "master_node",
    "Master",
    "text",
    "Name of the master node",
    ({ view }) => available(view.nodes.get(view.cluster.masterNode)?.name),
    { match: "host" },
  ),
  stored("mtime", "MTime", "timestamp", "When the cluster was last changed", ({ view }) => view.cluster.mtime),
  stored("os_api_version", "OsApiVersion", "number", "Version of the OS interface", ({ facts }) => facts.osApiVersion),
  stored(
    "protocol_version",
    "ProtocolVersion",
    "number",
    "Version of the protocol",
    ({ facts }) => facts.protocolVersion,
  ),
  stored(
    "software_version",
    "SoftwareVersion",
    "text",
    "Version of the software",
    ({ facts }) => facts.softwareVersion,
  ),
  stored("tags", "Tags", "other", "Tags of the cluster", ({ view }) => view.cluster.tags),
  stored("vcs_version", "VCSVersion", "text", "Version of the source", ({ facts }) => facts.vcsVersion),
  optional("volume_group_name", "VgName", "text", "Volume group of the cluster", ({ view }) =>
    available(view.cluster.volumeGroupName || null),
  ),
  optional("watcher_pause", "WatcherPause", "timestamp", "Until when the watcher is paused", ({ facts }) =>
    available(facts.watcherPausedUntil),
  ),
];

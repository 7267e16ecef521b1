/** Fields of external storage providers. */
import type { ExtStorageContext } from "../ext-storage-rows.ts";
import type { Field } from "../field.ts";
import { stored } from "../field.ts";

export const EXT_STORAGE_FIELDS: readonly Field<ExtStorageContext>[] = [
  stored("name", "Name", "text", "Name of the provider", ({ name }) => name),
  stored("node_status", "NodeStatus", "other", "What was found on each node", ({ nodeStatus }) => nodeStatus),
  stored(
    "nodegroup_status",
    "NodegroupStatus",
    "other",
    "Whether each group can use it",
    ({ nodegroupStatus }) => nodegroupStatus,
  ),
  stored(
    "parameters",
    "Parameters",
    "other",
    "Parameters that all nodes know, with their help",
    ({ parameters }) => parameters,
  ),
];

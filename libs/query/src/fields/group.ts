/** Fields of node groups. */
import type { ConfigView, NodeGroup } from "@gannet/objects";
import { allDiskparams, filledPolicy, groupNdparams } from "@gannet/objects";
import type { Field } from "../field.ts";
import { stampFields, stored } from "../field.ts";
import { niceSort } from "../nice-sort.ts";
import { ndparamFields } from "./ndparams.ts";

export interface GroupContext {
  readonly group: NodeGroup;
  readonly view: ConfigView;
}

function instanceNames({ group, view }: GroupContext): readonly string[] {
  const instances = view.nodesOf(group.uuid).flatMap(({ uuid }) => view.primaryInstances(uuid));
  return niceSort(
    instances.map(({ name }) => name),
    (name) => name,
  );
}

export const GROUP_FIELDS: readonly Field<GroupContext>[] = [
  stored("name", "Group", "text", "Name of the node group", ({ group }) => group.name),
  stored(
    "alloc_policy",
    "AllocPolicy",
    "text",
    "How readily new instances are placed in it",
    ({ group }) => group.allocPolicy,
  ),
  stored(
    "custom_diskparams",
    "CustomDiskParameters",
    "other",
    "Its own disk parameters",
    ({ group }) => group.diskparams,
  ),
  stored("custom_ipolicy", "CustomInstancePolicy", "other", "Its own instance policy", ({ group }) => group.ipolicy),
  stored("custom_ndparams", "CustomNDParams", "other", "Its own node parameters", ({ group }) => group.ndparams),
  stored("diskparams", "DiskParameters", "other", "Disk parameters, with inherited ones", ({ group, view }) =>
    allDiskparams(view.cluster, group),
  ),
  stored("ipolicy", "InstancePolicy", "other", "Instance policy, with what is inherited", ({ group, view }) =>
    filledPolicy(view.cluster, group),
  ),
  stored("ndparams", "NDParams", "other", "Node parameters, with inherited ones", ({ group, view }) =>
    groupNdparams(view.cluster, group),
  ),
  stored("node_cnt", "Nodes", "number", "Number of nodes", ({ group, view }) => view.nodesOf(group.uuid).length),
  stored("node_list", "NodeList", "other", "Names of its nodes", ({ group, view }) =>
    view.nodesOf(group.uuid).map(({ name }) => name),
  ),
  stored(
    "pinst_cnt",
    "Instances",
    "number",
    "Number of instances whose primary node is in it",
    (row) => instanceNames(row).length,
  ),
  stored("pinst_list", "InstanceList", "other", "Instances whose primary node is in it", instanceNames),
  ...ndparamFields<GroupContext>(({ group, view }) => groupNdparams(view.cluster, group)),
  ...stampFields<GroupContext>("node group", ({ group }) => group),
];

/** The rows of a small cluster. */
import { randomUUID } from "node:crypto";
import type { ConfigRows } from "@gannet/config-store";
import { type GroupUuid, type NodeUuid, newCluster, newGroup } from "@gannet/objects";

export function clusterRows(name = "cluster.test"): ConfigRows {
  const { cluster, group, node } = newCluster({
    uuid: randomUUID(),
    name,
    now: 1_700_000_000,
    group: { uuid: randomUUID() as GroupUuid },
    node: { uuid: randomUUID() as NodeUuid, name: "node1.test", primaryIp: "127.0.0.1" },
    enabledHypervisors: ["fake"],
    enabledDiskTemplates: ["diskless"],
  });
  return { cluster, groups: [group], nodes: [node] };
}

/** A row that is made while the cluster runs. */
export function anotherGroup(name: string) {
  return newGroup(randomUUID() as GroupUuid, name, 1_700_000_000);
}

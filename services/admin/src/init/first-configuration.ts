/** The configuration that a cluster begins with, written into the data of its first Redis. */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ConfigRows, initialiseConfiguration } from "@gannet/config-store";
import { type GroupUuid, type NodeUuid, newCluster } from "@gannet/objects";
import { connectRedis, startEmbeddedRedis } from "@gannet/redis";
import type { ClusterPlan } from "./cluster-plan.ts";

export function firstRows(plan: ClusterPlan): ConfigRows {
  const { cluster, group, node } = newCluster({
    uuid: randomUUID(),
    name: plan.name,
    now: Date.now() / 1000,
    group: { uuid: randomUUID() as GroupUuid },
    node: {
      uuid: randomUUID() as NodeUuid,
      name: plan.nodeName,
      primaryIp: plan.nodeAddress,
      agentAddress: `${plan.nodeAddress.includes(":") ? `[${plan.nodeAddress}]` : plan.nodeAddress}:${plan.ports.agent}`,
      ...(plan.secondaryAddress === undefined ? {} : { secondaryIp: plan.secondaryAddress }),
    },
    masterIp: plan.masterIp,
    masterNetdev: plan.masterNetdev,
    enabledHypervisors: plan.hypervisors,
    enabledDiskTemplates: plan.diskTemplates,
    ...(plan.volumeGroup === undefined ? {} : { volumeGroupName: plan.volumeGroup }),
    nicparams: plan.nicParameters,
    fileStorageDir: plan.fileStorageDir,
    ipolicy: { "disk-templates": [...plan.diskTemplates] },
  });
  const { masterNetmask = cluster.masterNetmask } = plan;
  return { cluster: { ...cluster, masterNetmask }, groups: [group], nodes: [node] };
}

/**
 * Write it by a Redis of its own, which serves nobody else and is gone afterwards: so it does not matter by whom the
 * daemons will be started.
 * @param directory - where the cluster's first Redis will find its data
 */
export async function writeFirstConfiguration(rows: ConfigRows, directory: string): Promise<void> {
  // A socket's path is short; the data's folder may lie anywhere.
  const folder = await mkdtemp(path.join(tmpdir(), "gannet-init-"));
  try {
    const server = await startEmbeddedRedis({ directory, socketPath: path.join(folder, "redis.sock") });
    const redis = connectRedis(server.address, { name: "init" });
    try {
      await initialiseConfiguration(redis, rows);
    } finally {
      redis.disconnect();
      await server.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

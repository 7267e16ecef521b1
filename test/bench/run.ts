/** `make bench`: every figure, on fresh clusters of three nodes with the fake hypervisor. */
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { benchAgent } from "./agent.ts";
import { benchAllocator } from "./allocator.ts";
import { benchFailover } from "./failover.ts";
import { benchFullLedger } from "./full-ledger.ts";
import { benchHttp } from "./http.ts";
import { benchInstances, printResidentMemory } from "./instances.ts";
import { benchLargeClusters } from "./large-clusters.ts";
import { benchParkedJobs } from "./parked-jobs.ts";
import { benchQueue } from "./queue.ts";

const options = { env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } };

benchAllocator();
await withCluster(async (cluster) => {
  await printResidentMemory(cluster, "idle");
  await benchHttp(cluster, [
    { path: "/version", label: "GET /version", goal: 0.5 },
    { path: "/2/info", label: "GET /2/info", goal: 0.5 },
  ]);
  await benchInstances(cluster);
  await benchHttp(cluster, [
    { path: "/2/instances?bulk=1", label: "GET /2/instances?bulk=1, 1,000 instances", goal: 0.3 },
  ]);
});
await withCluster(async (cluster) => {
  await benchQueue(cluster);
  await benchParkedJobs(cluster);
  await benchFailover(cluster);
});
await withCluster(benchLargeClusters);
await withCluster(benchFullLedger);
// After the others, whose agents have left their sources compiled.
await benchAgent();

/** One bench's load does not weigh on another's figures. */
async function withCluster(bench: (cluster: OneMachineCluster) => Promise<void>): Promise<void> {
  await using cluster = await OneMachineCluster.start(options);
  await bench(cluster);
}

/** `make bench`: every figure, on a fresh cluster of three nodes with the fake hypervisor. */
import { OneMachineCluster } from "../one-machine-cluster.ts";
import { benchHttp } from "./http.ts";
import { benchInstances } from "./instances.ts";
import { benchJobs } from "./jobs.ts";

await using cluster = await OneMachineCluster.start({ env: { NODE_TLS_REJECT_UNAUTHORIZED: "0" } });
await benchJobs(cluster);
await benchHttp(cluster, [
  { path: "/version", label: "GET /version", goal: 0.5 },
  { path: "/2/info", label: "GET /2/info", goal: 0.5 },
]);
await benchInstances(cluster);
await benchHttp(cluster, [
  { path: "/2/instances?bulk=1", label: "GET /2/instances?bulk=1, 1,000 instances", goal: 0.3 },
]);

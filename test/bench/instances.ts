/** Creating diskless instances on the fake hypervisor, and what a thousand of them weigh. */
import { readFileSync } from "node:fs";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { print, quantile } from "./figures.ts";

const AT_ONCE = 20;
const INSTANCES = 1_000;
const DAEMONS = ["redis", "master", "node1"];

export async function benchInstances(cluster: OneMachineCluster): Promise<void> {
  await memory(cluster, "idle");
  const times: number[] = [];
  let next = 0;
  const start = performance.now();
  const one = async () => {
    while (next < INSTANCES) {
      const index = next;
      next += 1;
      const began = performance.now();
      const job = await cluster.job("POST", "/2/instances", {
        __version__: 1,
        mode: "create",
        instance_name: `bench${index}.gannet.test`,
        disk_template: "diskless",
        disks: [],
        nics: [{}],
        os_type: "noop",
        hypervisor: "fake",
        pnode: `node${(index % 3) + 1}.gannet.test`,
      });
      if (job.status !== "success") throw new Error(JSON.stringify(job.opresult));
      times.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  const seconds = (performance.now() - start) / 1000;
  print({
    name: `create of a diskless fake instance, ${AT_ONCE} at once, median`,
    value: quantile(times, 0.5),
    unit: "ms",
  });
  print({
    name: `create of a diskless fake instance, ${AT_ONCE} at once, p99`,
    value: quantile(times, 0.99),
    unit: "ms",
  });
  print({ name: "creates of diskless fake instances", value: INSTANCES / seconds, unit: "instances/s" });
  await memory(cluster, `with ${INSTANCES} instances`);
}

async function memory(cluster: OneMachineCluster, when: string): Promise<void> {
  for (const daemon of DAEMONS) {
    const status = readFileSync(`/proc/${await cluster.pid(daemon)}/status`, "utf8");
    const kib = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
    print({ name: `resident memory of ${daemon}, ${when}`, value: kib / 1024, unit: "MiB" });
  }
}

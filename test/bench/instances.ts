/** Creating diskless instances on the fake hypervisor, and what a thousand of them weigh. */
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import { median, print, quantile, residentKib } from "./figures.ts";

const AT_ONCE = 20;
const INSTANCES = 1_000;
const DAEMONS = ["redis", "master", "node1"];

export async function benchInstances(cluster: OneMachineCluster): Promise<void> {
  const times: number[] = [];
  let next = 0;
  const start = performance.now();
  const one = async () => {
    while (next < INSTANCES) {
      const index = next;
      next += 1;
      const began = performance.now();
      const job = await cluster.job(
        "POST",
        "/2/instances",
        disklessInstance(`bench${index}.gannet.test`, (index % 3) + 1),
      );
      if (job.status !== "success") throw new Error(JSON.stringify(job.opresult));
      times.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  const seconds = (performance.now() - start) / 1000;
  print({ name: `create of a diskless fake instance, ${AT_ONCE} at once, median`, value: median(times), unit: "ms" });
  print({
    name: `create of a diskless fake instance, ${AT_ONCE} at once, p99`,
    value: quantile(times, 0.99),
    unit: "ms",
  });
  print({ name: "creates of diskless fake instances", value: INSTANCES / seconds, unit: "instances/s" });
  await printResidentMemory(cluster, `with ${INSTANCES} instances`);
}

/** Body of a create. */
export function disklessInstance(name: string, node: number): Readonly<Record<string, unknown>> {
  return {
    __version__: 1,
    mode: "create",
    instance_name: name,
    disk_template: "diskless",
    disks: [],
    nics: [{}],
    os_type: "noop",
    hypervisor: "fake",
    pnode: `node${node}.gannet.test`,
  };
}

export async function printResidentMemory(cluster: OneMachineCluster, when: string): Promise<void> {
  for (const daemon of DAEMONS) {
    const mib = residentKib(await cluster.pid(daemon)) / 1024;
    print({ name: `resident memory of ${daemon}, ${when}`, value: mib, unit: "MiB" });
  }
}

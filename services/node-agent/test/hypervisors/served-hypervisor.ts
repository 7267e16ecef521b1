/** A hypervisor's driver behind an agent: the same operations, over its real server and mutual TLS. */
import path from "node:path";
import type { BlockDeviceSpec, GuestDisk, HypervisorDriver } from "@gannet/driver-contract";
import { HYPERVISOR_CHECKS, type HypervisorSubject } from "@gannet/driver-contract/conformance";
import { afterAll, beforeAll, describe, it } from "vitest";
import { remoteHypervisor } from "../../../../test/remote-drivers/remote-hypervisor.ts";
import { createTestCluster, startTestAgent, step } from "../agent-fixture.ts";

interface ServedHypervisor extends AsyncDisposable {
  /** Each driver that it opens is another agent, on the same node and state. */
  readonly subject: HypervisorSubject;
}

/** One whose drivers are whole ones, not only the part that the checks use. */
export interface LocalHypervisor extends HypervisorSubject {
  open(): Promise<HypervisorDriver>;
}

/** The checks of a driver as it is, and behind an agent. @param local - called when what is around it has been made */
export function testConformance(local: () => LocalHypervisor): void {
  for (const check of HYPERVISOR_CHECKS) it(check.name, () => check.run(local()));

  describe("over gRPC", () => {
    let served: ServedHypervisor;
    beforeAll(async () => {
      served = await serveHypervisor(local());
    });
    afterAll(() => served[Symbol.asyncDispose]());

    for (const check of HYPERVISOR_CHECKS) it(check.name, () => check.run(served.subject));
  });
}

async function serveHypervisor(local: LocalHypervisor): Promise<ServedHypervisor> {
  const cluster = await createTestCluster();
  const { hypervisor, disks } = local.guest("any.example");
  return {
    subject: {
      ...local,
      async open() {
        const agent = await startTestAgent(cluster, {
          leadersFolder: path.join(cluster.root, "leaders"),
          hypervisors: new Map([[hypervisor, await local.open()]]),
        });
        let runs = true;
        return remoteHypervisor(
          { client: agent.client, step },
          {
            hypervisor,
            disks: disks.map(deviceOf),
            async close() {
              if (runs) await agent.stop();
              runs = false;
            },
          },
        );
      },
    },
    [Symbol.asyncDispose]: () => cluster.remove(),
  };
}

/** Which the agent's scripted disks find at its path. */
function deviceOf({ uuid, path: file, sizeMib, index }: GuestDisk): BlockDeviceSpec {
  return {
    ...{ uuid, sizeMib, index, template: "file", logicalId: ["loop", file] },
    ...{ mode: "rw", instanceName: "any.example", params: {}, children: [] },
  };
}

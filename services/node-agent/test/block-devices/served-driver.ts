/** A block-device driver behind an agent: the same operations, over its real server and mutual TLS. */
import path from "node:path";
import type { BlockDeviceDriver } from "@gannet/driver-contract";
import { remoteBlockDevices } from "../../../../test/remote-drivers/remote-block-devices.ts";
import { createTestCluster, startTestAgent, step } from "../agent-fixture.ts";

export interface ServedDriver extends AsyncDisposable {
  readonly driver: BlockDeviceDriver;
}

export async function serveDriver(served: BlockDeviceDriver): Promise<ServedDriver> {
  const cluster = await createTestCluster();
  const agent = await startTestAgent(cluster, {
    leadersFolder: path.join(cluster.root, "leaders"),
    blockDevices: new Map([[served.template, served]]),
  });
  return {
    driver: remoteBlockDevices(served.template, { client: agent.client, step }),
    [Symbol.asyncDispose]: async () => {
      await agent.stop();
      await cluster.remove();
    },
  };
}

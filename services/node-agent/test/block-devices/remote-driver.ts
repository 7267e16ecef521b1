/** A block-device driver behind an agent: the same operations, over its real server and mutual TLS. */
import path from "node:path";
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec, DrbdLink } from "@gannet/driver-contract";
import { BlockDeviceError, OpPrereqError } from "@gannet/errors";
import { type BlockDevice, encodeParameters } from "@gannet/rpc";
import { createTestCluster, startTestAgent, step } from "../agent-fixture.ts";

export interface RemoteDriver extends AsyncDisposable {
  readonly driver: BlockDeviceDriver;
}

export async function serveDriver(served: BlockDeviceDriver): Promise<RemoteDriver> {
  const cluster = await createTestCluster();
  const agent = await startTestAgent(cluster, {
    leadersFolder: path.join(cluster.root, "leaders"),
    blockDevices: new Map([[served.template, served]]),
  });
  const { blockDevices } = agent.client;
  const request = (device: BlockDeviceSpec) => ({ step: step(), device: message(device) });
  const driver: BlockDeviceDriver = {
    template: served.template,
    create: async (device, signal) => {
      // A master's numbers are whole and safe, or its own parser refuses them; others have no form on the wire.
      if (!Number.isSafeInteger(device.sizeMib)) throw new BlockDeviceError(`${device.sizeMib} MiB cannot be sent`);
      await refused(blockDevices.create(request(device), { signal }));
    },
    assemble: async (device, signal) => {
      const { path: target, kind, format, uris } = await refused(blockDevices.assemble(request(device), { signal }));
      return { path: target, kind, format, ...(Object.keys(uris).length > 0 ? { uris } : {}) } as AttachedDevice;
    },
    shutdown: async (device, signal) => {
      await refused(blockDevices.shutdown(request(device), { signal }));
    },
    remove: async (device, signal) => {
      await refused(blockDevices.remove(request(device), { signal }));
    },
    grow: async (device, newSizeMib, signal) => {
      await refused(blockDevices.grow({ ...request(device), newSizeMib }, { signal }));
    },
    status: (device, signal) => refused(blockDevices.status({ device: message(device) }, { signal })),
    // Told with the node's live state, and not asked for.
    space: (signal) => served.space(signal),
  };
  return {
    driver,
    [Symbol.asyncDispose]: async () => {
      await agent.stop();
      await cluster.remove();
    },
  };
}

/** What no driver is even asked to do is refused as a wrong request, which to the checks is a refusal like any. */
async function refused<Answer>(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof OpPrereqError) throw new BlockDeviceError(error.message, { cause: error });
    throw error;
  }
}

function message(device: BlockDeviceSpec): BlockDevice {
  return {
    ...device,
    logicalId: device.logicalId.map(String),
    params: encodeParameters(device.params),
    children: device.children.map(message),
    name: undefined,
    link: device.link && linkMessage(device.link),
  };
}

function linkMessage({ local, peer, port, secret }: DrbdLink): NonNullable<BlockDevice["link"]> {
  return {
    ...{ localAddress: local.address, localMinor: local.minor },
    ...{ peerAddress: peer.address, peerMinor: peer.minor, port, secret },
  };
}

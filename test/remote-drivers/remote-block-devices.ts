/** The block-device driver of a template behind an agent, asked as the master asks it. */
import type { AttachedDevice, BlockDeviceDriver, BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import type { DiskTemplate } from "@gannet/objects";
import { type BlockDevice, encodeParameters, type NodeClient, type Step } from "@gannet/rpc";
import { asRefusal } from "./refusal.ts";

/** An agent, and steps of a job that no other has had. */
export interface CalledNode {
  readonly client: NodeClient;
  step(): Step;
}

export function remoteBlockDevices(template: DiskTemplate, { client, step }: CalledNode): BlockDeviceDriver {
  const { blockDevices, node } = client;
  const change = (device: BlockDeviceSpec) => {
    // No message carries it: the master's own call fails before any agent is asked.
    if (!Number.isSafeInteger(device.sizeMib)) throw new BlockDeviceError(`${device.sizeMib} MiB is no size`);
    return { step: step(), device: deviceMessage(device) };
  };
  const call = <Result>(body: () => Promise<Result>) => asRefusal(BlockDeviceError, body);
  return {
    template,
    create: (device, signal) => call(async () => void (await blockDevices.create(change(device), { signal }))),
    assemble: (device, signal) =>
      call(async () => {
        const { path, kind, format, uris } = await blockDevices.assemble(change(device), { signal });
        return { path, kind, format, ...(Object.keys(uris).length > 0 ? { uris } : {}) } as AttachedDevice;
      }),
    shutdown: (device, signal) => call(async () => void (await blockDevices.shutdown(change(device), { signal }))),
    remove: (device, signal) => call(async () => void (await blockDevices.remove(change(device), { signal }))),
    grow: (device, newSizeMib, signal) =>
      call(async () => void (await blockDevices.grow({ ...change(device), newSizeMib }, { signal }))),
    status: (device, signal) => call(() => blockDevices.status({ device: deviceMessage(device) }, { signal })),
    space: async (signal) => {
      const { storage } = await node.describe({ knownStorage: false }, { signal });
      return storage.map((unit) => ({ ...unit, type: unit.type as "file" }));
    },
  };
}

export function deviceMessage({ params, children, link, ...device }: BlockDeviceSpec): BlockDevice {
  return {
    ...device,
    logicalId: device.logicalId.map(String),
    params: encodeParameters(params),
    children: children.map(deviceMessage),
    name: device.name,
    link: link && {
      localAddress: link.local.address,
      localMinor: link.local.minor,
      peerAddress: link.peer.address,
      peerMinor: link.peer.minor,
      port: link.port,
      secret: link.secret,
    },
  };
}

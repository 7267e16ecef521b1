/** What an external storage provider's script is told, in its environment (spec/node-ops.json, `storage.ext`). */
import type { BlockDeviceSpec } from "@gannet/driver-contract";
import { BlockDeviceError } from "@gannet/errors";
import { describeDevice } from "../describe-device.ts";
import type { ExtProvider } from "./provider.ts";

/** Parameters of the cluster, which are not the provider's. */
const NOT_FOR_THE_PROVIDER: readonly string[] = ["provider", "access"];

/** @throws BlockDeviceError when the disk has a parameter that the provider does not know */
export function scriptEnvironment(
  device: BlockDeviceSpec,
  volume: string,
  provider: ExtProvider,
  more: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const parameters = Object.entries(device.params).filter(([name]) => !NOT_FOR_THE_PROVIDER.includes(name));
  const unknown = parameters.find(([name]) => !provider.parameters.has(name.toLowerCase()));
  if (unknown !== undefined)
    throw new BlockDeviceError(
      `${describeDevice(device)}: the external storage provider ${provider.name} knows no parameter ${JSON.stringify(unknown[0].slice(0, 200))}, only ${[...provider.parameters].join(", ") || "none"}`,
    );
  return {
    VOL_NAME: volume,
    VOL_UUID: device.uuid,
    ...(device.name === undefined ? {} : { VOL_CNAME: device.name }),
    ...Object.fromEntries(parameters.map(([name, value]) => [`EXTP_${name.toUpperCase()}`, String(value ?? "")])),
    ...more,
  };
}

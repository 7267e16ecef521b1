/** What is done to one device of a running guest. */
import type { HotplugDevice, HypervisorAbilities } from "@gannet/driver-contract";
import { OpPrereqError } from "@gannet/errors";
import type { HypervisorName } from "@gannet/objects";
import { HotplugRequest_Action, type Nic } from "@gannet/rpc";
import type { GuestMetadataTable } from "../metadata/guest-metadata.ts";
import { guestMetadata } from "./messages.ts";

/** @throws OpPrereqError for an action that this device does not know */
export async function hotplug(
  driver: HypervisorAbilities["plug"],
  action: HotplugRequest_Action,
  name: string,
  plugged: HotplugDevice,
  signal: AbortSignal,
): Promise<void> {
  switch (action) {
    case HotplugRequest_Action.ACTION_ADD:
      return driver.plug(name, plugged, signal);
    case HotplugRequest_Action.ACTION_REMOVE:
      return driver.unplug(name, plugged, signal);
    case HotplugRequest_Action.ACTION_MODIFY:
      return driver.replug(name, plugged, signal);
    case HotplugRequest_Action.ACTION_RESIZE:
      if (plugged.kind === "disk") return driver.resizeDisk(name, plugged.disk, signal);
  }
  throw new OpPrereqError(`A ${plugged.kind} of a running guest cannot be changed in this way`, "wrong_input");
}

/** What a running guest may read of itself comes with the NIC by which it asks, and goes with it. */
export async function noteNic(
  table: GuestMetadataTable | undefined,
  owner: { readonly name: string; readonly hypervisor: HypervisorName },
  action: HotplugRequest_Action,
  changed: Nic,
): Promise<void> {
  const itself = action === HotplugRequest_Action.ACTION_REMOVE ? undefined : guestMetadata(owner, [changed]);
  if (itself === undefined) await table?.dropAddress(owner.name, changed.ip);
  else await table?.set(owner.name, itself);
}

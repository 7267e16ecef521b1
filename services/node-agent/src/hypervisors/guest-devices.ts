/** A guest with one disk or NIC more, or less, as hotplug leaves it. Pure. */
import type { GuestSpec, HotplugDevice } from "@gannet/driver-contract";

/** The device with this UUID as the guest has it. */
export function presentDevice(guest: GuestSpec, device: HotplugDevice): HotplugDevice | undefined {
  if (device.kind === "disk") {
    const disk = guest.disks.find(({ uuid }) => uuid === device.disk.uuid);
    return disk === undefined ? undefined : { kind: "disk", disk };
  }
  const nic = guest.nics.find(({ uuid }) => uuid === device.nic.uuid);
  return nic === undefined ? undefined : { kind: "nic", nic };
}

/** With the device at its index, instead of one with its UUID. */
export function withDevice(guest: GuestSpec, device: HotplugDevice): GuestSpec {
  const rest = withoutDevice(guest, device);
  return device.kind === "disk"
    ? { ...rest, disks: inserted(rest.disks, device.disk) }
    : { ...rest, nics: inserted(rest.nics, device.nic) };
}

export function withoutDevice(guest: GuestSpec, device: HotplugDevice): GuestSpec {
  return device.kind === "disk"
    ? { ...guest, disks: numbered(guest.disks.filter(({ uuid }) => uuid !== device.disk.uuid)) }
    : { ...guest, nics: numbered(guest.nics.filter(({ uuid }) => uuid !== device.nic.uuid)) };
}

export function deviceUuid(device: HotplugDevice): string {
  return device.kind === "disk" ? device.disk.uuid : device.nic.uuid;
}

function inserted<Device extends { readonly index: number }>(
  devices: readonly Device[],
  added: Device,
): readonly Device[] {
  return numbered(devices.toSpliced(added.index, 0, added));
}

function numbered<Device extends { readonly index: number }>(devices: readonly Device[]): readonly Device[] {
  return devices.map((device, index) => ({ ...device, index }));
}

/** USB, and the ports by which programs in the guest talk to the node. */
import { HypervisorError } from "@gannet/errors";
import type { LaunchPlan } from "../launch-plan.ts";
import { json, listeningSocket } from "./argument.ts";
import type { DeviceSlots } from "./device-slots.ts";

type Device = Readonly<Record<string, unknown>>;

/** Names that `usb_devices` takes from qemu's `-usbdevice`. */
const USB_DEVICES: Readonly<Record<string, string>> = {
  mouse: "usb-mouse",
  tablet: "usb-tablet",
  keyboard: "usb-kbd",
  "wacom-tablet": "usb-wacom-tablet",
};
const USB_OF_NODE_BY_PLACE = /^host:(\d{1,3})\.(\d{1,3})$/;
const USB_OF_NODE_BY_ID = /^host:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i;

/** @throws HypervisorError for a device that qemu has not under this name */
export function usbArgv({ params }: LaunchPlan): readonly string[] {
  const names = params.usb_devices.split(/[\s,]+/).filter((name) => name !== "");
  const devices = [...(params.usb_mouse === "" ? [] : [params.usb_mouse]), ...names].map(usbDevice);
  return devices.length === 0 ? [] : ["-usb", ...devices.flatMap((device) => ["-device", json(device)])];
}

function usbDevice(name: string): Device {
  const driver = USB_DEVICES[name];
  if (driver !== undefined) return { driver };
  const [, bus, address] = USB_OF_NODE_BY_PLACE.exec(name) ?? [];
  if (bus !== undefined) return { driver: "usb-host", hostbus: Number(bus), hostaddr: Number(address) };
  const [, vendor = "", product = ""] = USB_OF_NODE_BY_ID.exec(name) ?? [];
  if (vendor !== "")
    return { driver: "usb-host", vendorid: Number.parseInt(vendor, 16), productid: Number.parseInt(product, 16) };
  const known = [...Object.keys(USB_DEVICES), "host:BUS.ADDRESS", "host:VENDOR:PRODUCT"].join(", ");
  throw new HypervisorError(`usb_devices: ${JSON.stringify(name)} is not supported; use ${known}`);
}

/** The ports of agents in the guest, on one controller: SPICE's for mouse and clipboard, and qemu's guest agent. */
export function agentPortsArgv({ params, spice, paths }: LaunchPlan, slots: DeviceSlots): readonly string[] {
  const ports = [
    ...(spice !== null && params.spice_use_vdagent
      ? [{ name: "com.redhat.spice.0", chardev: "vdagent", backend: ["-chardev", "spicevmc,id=vdagent,name=vdagent"] }]
      : []),
    ...(params.use_guest_agent
      ? [{ name: "org.qemu.guest_agent.0", chardev: "qga", backend: listeningSocket("qga", paths.guestAgentSocket) }]
      : []),
  ];
  if (ports.length === 0) return [];
  return [
    ...["-device", json({ driver: "virtio-serial-pci", id: "agents", ...slots.pci("agents") })],
    ...ports.flatMap(({ name, chardev, backend }) => [
      ...backend,
      ...["-device", json({ driver: "virtserialport", bus: "agents.0", chardev, name })],
    ]),
  ];
}

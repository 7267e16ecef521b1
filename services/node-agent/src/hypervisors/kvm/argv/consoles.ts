/** Monitors, serial console, screen, keyboard and mouse. */
import { isIPv6 } from "node:net";
import { VNC_BASE_PORT } from "@gannet/objects";
import type { LaunchPlan, VncListener } from "../launch-plan.ts";
import { escaped, json, listeningSocket } from "./argument.ts";

export function monitorArgv({ paths }: LaunchPlan): readonly string[] {
  return [
    ...listeningSocket("qmp", paths.qmpSocket),
    ...["-mon", "chardev=qmp,mode=control"],
    ...listeningSocket("monitor", paths.monitorSocket),
    ...["-mon", "chardev=monitor,mode=readline"],
  ];
}

export function serialArgv({ params, paths }: LaunchPlan): readonly string[] {
  if (!params.serial_console) return ["-serial", "none"];
  return [...listeningSocket("serial0", paths.serialSocket), "-serial", "chardev:serial0"];
}

export function screenArgv({ params, vnc }: LaunchPlan): readonly string[] {
  return [
    ...(vnc === null ? ["-display", "none"] : ["-vnc", vncAddress(vnc)]),
    // Firmware and boot loaders of many guests do not come up without a screen, even when nobody looks.
    ...["-vga", params.vga === "" ? "std" : params.vga],
    ...(params.keymap === "" ? [] : ["-k", params.keymap]),
    ...(params.usb_mouse === "" ? [] : ["-usb", "-device", json({ driver: `usb-${params.usb_mouse}` })]),
  ];
}

/** The password itself is set over QMP, where no process list shows it; until then nobody gets in. */
function vncAddress(vnc: VncListener): string {
  const password = vnc.password ? ",password=on" : "";
  if (vnc.kind === "socket") return `unix:${escaped(vnc.path)}${password}`;
  const host = isIPv6(vnc.address) ? `[${vnc.address}]` : vnc.address;
  return `${host}:${vnc.port - VNC_BASE_PORT}${password}`;
}

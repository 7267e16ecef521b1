/** Monitors, serial console, and the screen as VNC or SPICE show it. */
import { isIPv6 } from "node:net";
import { VNC_BASE_PORT } from "@gannet/objects";
import type { LaunchPlan, SpiceListener, VncListener } from "../launch-plan.ts";
import { escaped, json, listeningSocket } from "./argument.ts";

const VNC_CREDENTIALS = "vnctls0";

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

export function screenArgv(plan: LaunchPlan): readonly string[] {
  const { params, spice } = plan;
  // Firmware and boot loaders of many guests do not come up without a screen, even when nobody looks.
  const card = params.vga || (spice === null ? "std" : "qxl");
  return [...displayArgv(plan), "-vga", card, ...(params.keymap === "" ? [] : ["-k", params.keymap])];
}

function displayArgv({ params, vnc, spice }: LaunchPlan): readonly string[] {
  if (vnc !== null) return [...vncCredentials(params), "-vnc", vncAddress(vnc, params.vnc_tls)];
  if (spice !== null) return ["-display", "none", "-spice", spiceOptions(spice, params)];
  return ["-display", "none"];
}

/** Without certificates the connection is encrypted, but nobody can tell who is at its other end. */
function vncCredentials(params: LaunchPlan["params"]): readonly string[] {
  if (!params.vnc_tls) return [];
  const common = { id: VNC_CREDENTIALS, endpoint: "server" };
  const credentials =
    params.vnc_x509_path === ""
      ? { "qom-type": "tls-creds-anon", ...common }
      : {
          "qom-type": "tls-creds-x509",
          ...common,
          dir: params.vnc_x509_path,
          "verify-peer": params.vnc_x509_verify,
        };
  return ["-object", json(credentials)];
}

/** The password itself is set over QMP, where no process list shows it; until then nobody gets in. */
function vncAddress(vnc: VncListener, tls: boolean): string {
  const options = `${tls ? `,tls-creds=${VNC_CREDENTIALS}` : ""}${vnc.password ? ",password=on" : ""}`;
  if (vnc.kind === "socket") return `unix:${escaped(vnc.path)}${options}`;
  const host = isIPv6(vnc.address) ? `[${vnc.address}]` : vnc.address;
  return `${host}:${vnc.port - VNC_BASE_PORT}${options}`;
}

/** spec/node-ops.json, `hv.kvm.spice`. The password is set as VNC's is. */
function spiceOptions(spice: SpiceListener, params: LaunchPlan["params"]): string {
  const options: Readonly<Record<string, string | number>> = {
    addr: spice.address,
    ...(spice.tls === null
      ? { port: spice.port }
      : {
          "tls-port": spice.port,
          "x509-cacert-file": spice.tls.caFile,
          "x509-key-file": spice.tls.keyFile,
          "x509-cert-file": spice.tls.certFile,
          ...named("tls-ciphers", params.spice_tls_ciphers),
        }),
    [isIPv6(spice.address) ? "ipv6" : "ipv4"]: "on",
    ...(spice.password ? {} : { "disable-ticketing": "on" }),
    ...named("image-compression", params.spice_image_compression),
    ...named("jpeg-wan-compression", params.spice_jpeg_wan_compression),
    ...named("zlib-glz-wan-compression", params.spice_zlib_glz_wan_compression),
    ...named("streaming-video", params.spice_streaming_video),
    ...(params.spice_playback_compression ? {} : { "playback-compression": "off" }),
    ...(params.spice_use_vdagent ? {} : { "agent-mouse": "off" }),
  };
  return Object.entries(options)
    .map(([name, value]) => `${name}=${escaped(String(value))}`)
    .join(",");
}

function named(option: string, value: string): Readonly<Record<string, string>> {
  return value === "" ? {} : { [option]: value };
}

/** How a guest's console is reached (spec/os-iallocator-hooks.json, `console.by_hypervisor.kvm`). */
import type { GuestConsole, GuestSpec } from "@gannet/driver-contract";
import { VNC_BASE_PORT } from "@gannet/objects";
import { socatText } from "../socat-address.ts";
import { readKvmParameters } from "./kvm-parameters.ts";
import type { RuntimePaths } from "./runtime-paths.ts";
import { vncListener } from "./vnc-listener.ts";

const SOCAT = "/usr/bin/socat";
/** Ctrl-], as in telnet, leaves the console. */
const TERMINAL = "STDIO,raw,echo=0,escape=0x1d";

/** @throws HypervisorError when the node has lost the address its VNC server was given */
export function guestConsole(guest: GuestSpec, paths: RuntimePaths): GuestConsole {
  const params = readKvmParameters(guest);
  if (params.serial_console) {
    return { kind: "ssh", command: [SOCAT, TERMINAL, `UNIX-CONNECT:${socatText(paths.serialSocket)}`] };
  }
  const vnc = vncListener(guest, params);
  if (vnc?.kind === "tcp") return { kind: "vnc", port: vnc.port, display: vnc.port - VNC_BASE_PORT };
  if (vnc?.kind === "socket") return { kind: "msg", message: `VNC listens on the socket ${vnc.path} of the node` };
  if (params.spice_bind !== "" && guest.networkPort !== null) return { kind: "spice", port: guest.networkPort };
  return { kind: "msg", message: `Instance ${guest.name} has neither a serial console nor a screen` };
}

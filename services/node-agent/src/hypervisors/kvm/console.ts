/** How a guest's console is reached (spec/os-iallocator-hooks.json, `console.by_hypervisor.kvm`). */
import type { GuestConsole, GuestSpec } from "@gannet/driver-contract";
import { VNC_BASE_PORT } from "@gannet/objects";
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
    return { kind: "ssh", command: [SOCAT, TERMINAL, `UNIX-CONNECT:${socatAddress(paths.serialSocket)}`] };
  }
  const vnc = vncListener(guest, params);
  if (vnc?.kind === "tcp") return { kind: "vnc", port: vnc.port, display: vnc.port - VNC_BASE_PORT };
  if (vnc?.kind === "socket") return { kind: "msg", message: `VNC listens on the socket ${vnc.path} of the node` };
  return { kind: "msg", message: `Instance ${guest.name} has neither a serial console nor VNC` };
}

/** Characters that separate parts of a socat address are escaped by a backslash (socat(1), "Address specifications"). */
function socatAddress(path: string): string {
  return path.replaceAll(/[\\:,!"'{}()[\]]/g, "\\$&");
}

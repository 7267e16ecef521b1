/** Where a guest's VNC server shall listen, from its parameters and this node's addresses. */
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import path from "node:path";
import type { GuestSpec } from "@gannet/driver-contract";
import { HypervisorError } from "@gannet/errors";
import { VNC_BASE_PORT } from "@gannet/objects";
import type { KvmParameters } from "./kvm-parameters.ts";
import type { VncListener } from "./launch-plan.ts";
import { SOCKET_PATH_LIMIT_BYTES } from "./runtime-paths.ts";

/**
 * `vnc_bind_address` is an IP address, the name of an interface whose address is taken, or the absolute path of a
 * folder, in which a socket with the guest's name is made. Null when it is empty.
 * @throws HypervisorError
 */
export function vncListener(guest: GuestSpec, params: KvmParameters): VncListener | null {
  const bind = params.vnc_bind_address;
  const password = params.vnc_password_file !== "";
  if (bind === "") return null;
  const socket = vncSocket(guest);
  if (socket !== undefined) return { kind: "socket", path: checkedSocket(socket), password };
  if (guest.networkPort === null || guest.networkPort < VNC_BASE_PORT) {
    throw new HypervisorError(`vnc_bind_address is ${bind}, but the instance has no network port for VNC`);
  }
  return { kind: "tcp", address: addressOf(bind), port: guest.networkPort, password };
}

/** The socket of a guest whose VNC server listens on one. */
export function vncSocket(guest: GuestSpec): string | undefined {
  const bind = guest.hvparams.vnc_bind_address;
  return typeof bind === "string" && path.isAbsolute(bind) ? path.join(bind, `${guest.name}.vnc`) : undefined;
}

function checkedSocket(socket: string): string {
  if (Buffer.byteLength(socket) <= SOCKET_PATH_LIMIT_BYTES) return socket;
  throw new HypervisorError(`vnc_bind_address: ${socket} is longer than a unix socket's path may be`);
}

function addressOf(bind: string): string {
  if (isIP(bind) !== 0) return bind;
  const addresses = networkInterfaces()[bind] ?? [];
  const address = addresses.find(({ family }) => family === "IPv4") ?? addresses.find(({ scopeid }) => scopeid === 0);
  if (address !== undefined) return address.address;
  throw new HypervisorError(`vnc_bind_address: this node has no interface ${bind} with an address`);
}

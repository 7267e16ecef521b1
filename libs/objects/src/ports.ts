/** TCP ports that the cluster hands out: to guests' consoles and to DRBD (spec/config.json, `ports`). */
import { OpPrereqError } from "@gannet/errors";
import type { Cluster } from "./model.ts";
import type { HypervisorName } from "./names.ts";

export const FIRST_PORT = 11_000;
export const LAST_PORT = 14_999;
/** A VNC display's number is its port less this. */
export const VNC_BASE_PORT = 5900;

/** Hypervisors whose guests get a port for a graphical console. */
export const NEEDS_NETWORK_PORT: Readonly<Record<HypervisorName, boolean>> = {
  chroot: false,
  fake: false,
  kvm: true,
  lxc: false,
  "xen-hvm": true,
  "xen-pvm": false,
};

/** The part of the cluster's row that knows which ports are free. */
export type PortState = Pick<Cluster, "highestUsedPort" | "tcpudpPortPool">;

/**
 * A free port, and the state without it. Freed ports are used again first, the lowest of them.
 * @throws OpPrereqError `insufficient_resources` when all are used
 */
export function allocatePort(state: PortState): { readonly port: number; readonly state: PortState } {
  if (state.tcpudpPortPool.length > 0) {
    const port = Math.min(...state.tcpudpPortPool);
    return { port, state: { ...state, tcpudpPortPool: state.tcpudpPortPool.filter((free) => free !== port) } };
  }
  const port = Math.max(state.highestUsedPort + 1, FIRST_PORT);
  if (port > LAST_PORT)
    throw new OpPrereqError(`All ports from ${FIRST_PORT} to ${LAST_PORT} are in use`, "insufficient_resources");
  return { port, state: { ...state, highestUsedPort: port } };
}

/** The state with a port free again. Freeing a port twice, or one that was never handed out, does nothing. */
export function freePort(state: PortState, port: number): PortState {
  const handedOut = port >= FIRST_PORT && port <= state.highestUsedPort && !state.tcpudpPortPool.includes(port);
  return handedOut ? { ...state, tcpudpPortPool: [...state.tcpudpPortPool, port].sort((a, b) => a - b) } : state;
}

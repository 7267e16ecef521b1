/** Programs and folders by which NICs are connected. */
import { SYSTEM_SCRIPT_FOLDER } from "./site-scripts.ts";

export interface NetworkTools {
  readonly ip: string;
  readonly bridge: string;
  readonly ovsVsctl: string;
  /** Holds the site's network scripts. */
  readonly scriptFolder: string;
}

export const SYSTEM_NETWORK_TOOLS: NetworkTools = {
  ip: "/sbin/ip",
  bridge: "/sbin/bridge",
  ovsVsctl: "/usr/bin/ovs-vsctl",
  scriptFolder: SYSTEM_SCRIPT_FOLDER,
};

/** Where Xen's parts stand on this node. */
import path from "node:path";
import type { ToolstackKind } from "./toolstack.ts";

export interface XenOptions {
  readonly toolstackPaths: Readonly<Record<ToolstackKind, string>>;
  /** What the node's own file says that it has; undefined where the cluster's `xen_cmd` decides alone. */
  readonly toolstack: ToolstackKind | undefined;
  readonly socatPath: string;
  /**
   * Holds a link to each disk of each guest, `<instance>:<index>`, by which Xen finds it. Must be the same on all
   * nodes: a guest that moves takes its configuration along, and a disk may have another device on each node.
   */
  readonly diskLinkFolder: string;
  /** Holds `<instance>/<index>` for each network card: what the scripts of the site and of Gannet read. */
  readonly nicFolder: string;
  /** Gannet's own, for cards that Xen's scripts cannot connect (deploy/xen/vif-gannet). The same on all nodes. */
  readonly vifScript: string;
  /** The site's, which takes the place of Xen's and of Gannet's where it is there, as with Ganeti's `vif-ganeti`. */
  readonly siteVifScript: string;
  /** Holds the logs of device models. */
  readonly logFolder: string;
}

const TOOLSTACK_PATHS: Readonly<Record<ToolstackKind, string>> = { xl: "/usr/sbin/xl", xm: "/usr/sbin/xm" };
const RUN = "/var/run/ganeti";

/** Scripts made for Ganeti find everything where Ganeti keeps it (spec/node-ops.json, `symlinks` and `nic.scripts`). */
const SYSTEM_FOLDERS = {
  socatPath: "/usr/bin/socat",
  diskLinkFolder: path.join(RUN, "instance-disks"),
  nicFolder: path.join(RUN, "xen-hypervisor/nic"),
  vifScript: "/usr/lib/gannet/vif-gannet",
  siteVifScript: "/etc/xen/scripts/vif-custom",
  logFolder: "/var/log/xen",
} as const;

/** What is not given is where Debian and Ganeti have it. */
export function xenOptions(
  given: Partial<Omit<XenOptions, "toolstack" | "toolstackPaths">> & {
    readonly toolstack?: ToolstackKind;
    readonly toolstackPath?: string;
  },
): XenOptions {
  const { toolstack, toolstackPath, ...places } = given;
  const own = toolstackPath === undefined ? {} : { [toolstack ?? "xl"]: toolstackPath };
  return { ...SYSTEM_FOLDERS, ...places, toolstackPaths: { ...TOOLSTACK_PATHS, ...own }, toolstack };
}

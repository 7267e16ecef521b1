/**
 * Simulated storage tools and hypervisors of one node, for tests and for clusters on one machine: small programs named and called as
 * the real ones, which answer like them and keep what they would keep in the kernel and on disks in a folder.
 *
 * Each program is a TypeScript file that is given the node's folder as its first argument; a launch script in the
 * node's `bin` folder adds it. `faults.ts` tells how to make one fail, hang, be slow, or print something else.
 */
import { chmod, mkdir, realpath, writeFile } from "node:fs/promises";
import path from "node:path";
import { initialiseDrbd } from "./drbd/install.ts";
import { initialiseLvm, type SimulatedVolumeGroup } from "./lvm/state.ts";
import { layoutOf } from "./node-layout.ts";

/** Each tool by its name, and its program below this folder. */
const TOOLS: Readonly<Record<string, string>> = {
  blockdev: "lvm/blockdev.ts",
  drbdmeta: "drbd/drbdmeta.ts",
  drbdsetup: "drbd/drbdsetup.ts",
  lvchange: "lvm/lvchange.ts",
  lvcreate: "lvm/lvcreate.ts",
  lvextend: "lvm/lvextend.ts",
  lvremove: "lvm/lvremove.ts",
  lvrename: "lvm/lvrename.ts",
  lvs: "lvm/lvs.ts",
  "lxc-freeze": "lxc/lxc-freeze.ts",
  "lxc-ls": "lxc/lxc-ls.ts",
  "lxc-start": "lxc/lxc-start.ts",
  "lxc-stop": "lxc/lxc-stop.ts",
  "lxc-wait": "lxc/lxc-wait.ts",
  pvchange: "lvm/pvchange.ts",
  pvs: "lvm/pvs.ts",
  vgreduce: "lvm/vgreduce.ts",
  vgs: "lvm/vgs.ts",
  xl: "xen/xl.ts",
  xm: "xen/xl.ts",
};

export interface SimulatedNode {
  /** Holds everything: the launch scripts, the devices, and what the tools remember. Made when missing. */
  readonly folder: string;
  /** Made the first time; a node that is installed again keeps what it has. */
  readonly volumeGroups: readonly SimulatedVolumeGroup[];
  /** Shared with the nodes that its DRBD disks have their other ends on; one filesystem with theirs. Its own when absent. */
  readonly networkFolder?: string;
}

/** Where an agent finds a node's tools: its `storageTools` settings. */
export interface SimulatedStorageTools {
  readonly binFolder: string;
  readonly deviceFolder: string;
  readonly drbdStatusFile: string;
  readonly drbdHelperFile: string;
}

export async function installSimulatedTools(node: SimulatedNode): Promise<SimulatedStorageTools> {
  await mkdir(node.folder, { recursive: true, mode: 0o700 });
  // Without links, by which an open file could not be told from its name.
  const nodeFolder = await realpath(node.folder);
  const layout = layoutOf(nodeFolder);
  for (const folder of [layout.binFolder, layout.deviceFolder, layout.faultsFolder, layout.volumesFolder])
    await mkdir(folder, { recursive: true, mode: 0o700 });
  for (const [tool, program] of Object.entries(TOOLS)) await installTool(nodeFolder, tool, program);
  await initialiseLvm(nodeFolder, node.volumeGroups);
  await initialiseDrbd(nodeFolder, node.networkFolder ?? path.join(nodeFolder, "network"));
  const { binFolder, deviceFolder, drbdStatusFile, drbdHelperFile } = layout;
  return { binFolder, deviceFolder, drbdStatusFile, drbdHelperFile };
}

/**
 * A simulated `ip` alone, by which the cluster's address is put where nobody else sees it.
 * @returns an agent's `addressTools` settings; those that would announce it are not there
 */
export async function installSimulatedIp(
  folder: string,
): Promise<Readonly<Record<"ip" | "arping" | "ndisc6", string>>> {
  const { binFolder } = layoutOf(folder);
  await mkdir(binFolder, { recursive: true, mode: 0o700 });
  const ip = await installTool(folder, "ip", "network/ip.ts");
  return { ip, arping: path.join(binFolder, "arping"), ndisc6: path.join(binFolder, "ndisc6") };
}

async function installTool(nodeFolder: string, tool: string, program: string): Promise<string> {
  const script = path.join(layoutOf(nodeFolder).binFolder, tool);
  await writeFile(script, launchScript(path.join(import.meta.dirname, program), nodeFolder));
  await chmod(script, 0o755);
  return script;
}

/** Node's cache of compiled programs halves the time to a tool's answer, from 0.2 to 0.1 s of processor time. */
function launchScript(program: string, nodeFolder: string): string {
  const cache = path.join(nodeFolder, "compile-cache");
  const command = [process.execPath, program, nodeFolder].map(quoted).join(" ");
  return `#!/bin/sh\nNODE_COMPILE_CACHE=${quoted(cache)} exec ${command} "$@"\n`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

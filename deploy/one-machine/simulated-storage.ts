/**
 * `GANNET_STORAGE=simulated`: LVM and DRBD for a one-machine cluster whose kernel has neither. Each node gets tools of
 * its own, below the state directory, that answer like the real ones; the agents' drivers call them by path.
 */
import { existsSync } from "node:fs";
import { installSimulatedTools, type SimulatedStorageTools } from "../../test/simulated-tools/install.ts";
import type { Layout, NodePlan } from "./layout.ts";
import type { Settings } from "./settings.ts";

/** Ganeti's usual name. */
export const VOLUME_GROUP = "xenvg";

/** Of each node. The files of volumes are sparse: it is taken from the disk only as it is written to. */
const VOLUME_GROUP_MIB = 100 * 1024;

/** A cluster that was made with simulated storage keeps it, whatever it is started with later. */
export function hasSimulatedStorage(layout: Layout, settings: Pick<Settings, "storage">): boolean {
  return (
    settings.storage === "simulated" || layout.nodes.some(({ simulatedStorageDir }) => existsSync(simulatedStorageDir))
  );
}

export function simulateStorage(layout: Layout, node: NodePlan): Promise<SimulatedStorageTools> {
  return installSimulatedTools({
    folder: node.simulatedStorageDir,
    volumeGroups: [{ name: VOLUME_GROUP, physicalVolumes: [{ name: "/dev/vdb", sizeMib: VOLUME_GROUP_MIB }] }],
    networkFolder: layout.simulatedNetworkDir,
  });
}

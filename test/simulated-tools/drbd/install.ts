/** Gives a node its simulated DRBD. */
import { existsSync, mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { layoutOf } from "../node-layout.ts";
import { addNode, publish, watchResync } from "./publish.ts";
import { isSyncing, settle } from "./replication.ts";
import { changeWorld, networkLink } from "./world.ts";

/** The helper program that Ganeti's clusters expect by default. */
const USERMODE_HELPER = "/bin/true";

/** @param networkFolder - shared with the nodes that it is to have peers on */
export async function initialiseDrbd(nodeFolder: string, networkFolder: string): Promise<void> {
  mkdirSync(networkFolder, { recursive: true, mode: 0o700 });
  const node = realpathSync(nodeFolder);
  rmSync(networkLink(node), { force: true });
  symlinkSync(path.resolve(networkFolder), networkLink(node));
  const helper = layoutOf(node).drbdHelperFile;
  if (!existsSync(helper)) writeFileSync(helper, `${USERMODE_HELPER}\n`);
  const network = realpathSync(networkFolder);
  await changeWorld(network, (world) => {
    addNode(network, node);
    const nowMs = Date.now();
    settle(world, nowMs);
    publish(world, network, nowMs);
    if (isSyncing(world)) watchResync(network);
  });
}

/** Keeps /proc/drbd of a network's nodes while a resync runs: `resync.ts <network folder>`. */
import { existsSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { publish } from "./publish.ts";
import { isSyncing, settle } from "./replication.ts";
import { changeWorld } from "./world.ts";

const INTERVAL_MS = 100;

const [network = ""] = process.argv.slice(2);
while (existsSync(network)) {
  const goesOn = await changeWorld(network, (world) => {
    const nowMs = Date.now();
    settle(world, nowMs);
    publish(world, network, nowMs);
    return isSyncing(world);
  });
  if (!goesOn) break;
  await delay(INTERVAL_MS);
}

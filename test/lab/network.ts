/** The network between the nodes. It is made in this process' own namespace and vanishes with it. */
import type { CommandRunner } from "@gannet/exec";
import { LAB_NETWORK, type LabNode } from "./plan.ts";

const IP = "/usr/sbin/ip";
const TIMEOUT_MS = 10_000;

/** A bridge with this side's address, and a tap for each node. */
export async function makeNetwork(nodes: readonly LabNode[], runner: CommandRunner): Promise<void> {
  const ip = (...args: string[]) => runner.run({ argv: [IP, ...args], timeoutMs: TIMEOUT_MS });
  const { bridge, address, prefix } = LAB_NETWORK;
  await ip("link", "set", "lo", "up");
  await ip("link", "add", "name", bridge, "type", "bridge", "forward_delay", "0");
  await ip("address", "add", `${address}/${prefix}`, "dev", bridge);
  await ip("link", "set", bridge, "up");
  for (const { tap } of nodes) {
    await ip("tuntap", "add", tap, "mode", "tap");
    await ip("link", "set", tap, "master", bridge);
    await ip("link", "set", tap, "up");
  }
}

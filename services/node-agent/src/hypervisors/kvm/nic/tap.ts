/** Taps: the node's end of a bridged NIC. Made by the agent, so that qemu needs no right to. */
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import type { GuestNic } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import { tapName } from "./tap-name.ts";

const IP = "/sbin/ip";
const TIMEOUT_MS = 10_000;
const TUN_DEVICE = "/dev/net/tun";
/** Bit of CAP_NET_ADMIN in a capability set (linux/capability.h). */
const CAP_NET_ADMIN = 12n;

/**
 * A tap that is a port of the NIC's bridge and up. One of the same name was left by an earlier start of the same
 * NIC and is replaced.
 * @throws HypervisorError; no tap is left then
 */
export async function makeTap(runner: CommandRunner, nic: GuestNic, signal: AbortSignal): Promise<void> {
  const name = tapName(nic.uuid);
  await removeTap(runner, name);
  try {
    await runner.run({ argv: [IP, "tuntap", "add", "dev", name, "mode", "tap"], timeoutMs: TIMEOUT_MS, signal });
    await runner.run({ argv: joinArgv(name, nic, await bridgeMtu(nic.link)), timeoutMs: TIMEOUT_MS, signal });
  } catch (error) {
    await removeTap(runner, name);
    if (!(error instanceof GannetError)) throw error;
    throw new HypervisorError(`NIC ${nic.index} cannot be connected to ${nic.link}: ${error.message}`, {
      cause: error,
    });
  }
}

/** Succeeds when there is none. @throws HypervisorError when it is there and stays */
export async function removeTap(runner: CommandRunner, name: string): Promise<void> {
  if (!(await isTap(name))) return;
  try {
    await runner.run({ argv: [IP, "link", "delete", "dev", name], timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (await isTap(name)) throw new HypervisorError(`The interface ${name} cannot be removed`, { cause: error });
  }
}

/**
 * A bridge takes the lowest address of its ports for its own and would change it with every guest; one that begins
 * with fe is never the lowest.
 */
export function joinArgv(name: string, nic: GuestNic, mtu: string): readonly [string, ...string[]] {
  const address = `fe${nic.mac.slice(2)}`;
  return [IP, "link", "set", "dev", name, "address", address, "mtu", mtu, "master", nic.link, "up"];
}

/** Whether the interface exists and is a bridge. */
export async function isBridge(link: string): Promise<boolean> {
  return exists(`/sys/class/net/${link}/bridge`);
}

/** Why this process cannot make taps, or undefined when it can. */
export async function tapObstacle(): Promise<string | undefined> {
  const openable = await access(TUN_DEVICE, constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!openable) return `${TUN_DEVICE} is not there or may not be opened`;
  const status = await readFile("/proc/self/status", "utf8");
  return hasNetAdmin(status) ? undefined : "the agent lacks the capability CAP_NET_ADMIN; run it as root";
}

/** @param status the text of /proc/<pid>/status */
export function hasNetAdmin(status: string): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> CAP_NET_ADMIN) & 1n) === 1n;
}

async function bridgeMtu(bridge: string): Promise<string> {
  return (await readFile(`/sys/class/net/${bridge}/mtu`, "utf8")).trim();
}

function isTap(name: string): Promise<boolean> {
  return exists(`/sys/class/net/${name}/tun_flags`);
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

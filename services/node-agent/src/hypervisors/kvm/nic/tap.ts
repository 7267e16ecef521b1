/** Taps: the node's end of a NIC. Made by the agent, so that qemu needs no right to. */
import { constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { HypervisorError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import type { NetworkTools } from "../../../nics/network-tools.ts";

const TIMEOUT_MS = 10_000;
const TUN_DEVICE = "/dev/net/tun";
/** Bit of CAP_NET_ADMIN in a capability set (linux/capability.h). */
const CAP_NET_ADMIN = 12n;

export interface TapShape {
  /** As many as the card has; each is opened by itself. */
  readonly queues: number;
  /** The user that qemu runs as, who may then open it without any right; root when absent. */
  readonly ownerUid?: number;
}

/** A tap without queues, or with one, is of another kind than one with several (linux/if_tun.h, IFF_MULTI_QUEUE). */
export function tapArgv(
  tools: Pick<NetworkTools, "ip">,
  name: string,
  { queues, ownerUid }: TapShape,
): readonly [string, ...string[]] {
  return [
    tools.ip,
    ...["tuntap", "add", "dev", name, "mode", "tap"],
    ...(queues > 1 ? ["multi_queue"] : []),
    ...(ownerUid === undefined ? [] : ["user", String(ownerUid)]),
  ];
}

/** Succeeds when there is none. @throws HypervisorError when it is there and stays */
export async function removeTap(runner: CommandRunner, tools: Pick<NetworkTools, "ip">, name: string): Promise<void> {
  if (!(await isTap(name))) return;
  try {
    await runner.run({ argv: [tools.ip, "link", "delete", "dev", name], timeoutMs: TIMEOUT_MS });
  } catch (error) {
    if (await isTap(name)) throw new HypervisorError(`The interface ${name} cannot be removed`, { cause: error });
  }
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

function isTap(name: string): Promise<boolean> {
  return access(`/sys/class/net/${name}/tun_flags`).then(
    () => true,
    () => false,
  );
}

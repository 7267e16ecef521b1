/** What a new cluster is to be, from the options of `gannet-admin init`, and the checks against this machine. */
import { lookup, lookupService } from "node:dns/promises";
import { access } from "node:fs/promises";
import { isIP } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import path from "node:path";
import { OpPrereqError } from "@gannet/errors";
import type { CommandRunner } from "@gannet/exec";
import {
  checkNicParameters,
  DISK_TEMPLATES,
  type DiskTemplate,
  HYPERVISORS,
  type HypervisorName,
  normalizeHostName,
  type Parameters,
  SYSTEM_PORTS,
} from "@gannet/objects";

/** As they stand on the command line. */
export interface InitOptions {
  readonly name: string;
  readonly masterIp?: string;
  readonly masterNetmask?: string;
  readonly masterNetdev?: string;
  readonly enabledHypervisors: string;
  readonly enabledDiskTemplates?: string;
  readonly vgName?: string;
  readonly nicParameters: string;
  readonly nodeName?: string;
  readonly nodeAddress?: string;
  readonly secondaryAddress?: string;
  readonly fileStorageDir: string;
  readonly rapiPort: string;
  readonly agentPort: string;
  readonly redisPort: string;
  readonly sentinelPort: string;
}

export interface ClusterPlan {
  readonly name: string;
  readonly masterIp: string;
  /** Bits; all of them, so that the address is this one alone, when absent. */
  readonly masterNetmask?: number;
  readonly masterNetdev: string;
  readonly hypervisors: readonly [HypervisorName, ...HypervisorName[]];
  readonly diskTemplates: readonly [DiskTemplate, ...DiskTemplate[]];
  readonly volumeGroup?: string;
  readonly nicParameters: Parameters;
  readonly nodeName: string;
  readonly nodeAddress: string;
  readonly secondaryAddress?: string;
  readonly fileStorageDir: string;
  readonly ports: Readonly<Record<"rapi" | "agent" | "redis" | "sentinel", number>>;
}

const NETWORK_DEVICES = "/sys/class/net";
const VGS = "/usr/sbin/vgs";
const COMMAND_TIMEOUT_MS = 30_000;

/** Ganeti's, where Xen's bridge has another name today. */
const STANDARD_NIC: Parameters = { mode: "bridged", link: "br0" };
export const STANDARD_OPTIONS = {
  enabledHypervisors: "kvm",
  nicParameters: Object.entries(STANDARD_NIC)
    .map(([name, value]) => `${name}=${String(value)}`)
    .join(","),
  fileStorageDir: "/srv/ganeti/file-storage",
  rapiPort: String(SYSTEM_PORTS.rapi),
  agentPort: String(SYSTEM_PORTS.agent),
  redisPort: String(SYSTEM_PORTS.redis),
  sentinelPort: String(SYSTEM_PORTS.sentinel),
} as const;

/** @throws OpPrereqError naming the option that cannot be, or what this machine lacks for it */
export async function clusterPlan(options: InitOptions, runner: CommandRunner): Promise<ClusterPlan> {
  const name = normalizeHostName(options.name);
  const nodeName = normalizeHostName(options.nodeName ?? (await ownName()));
  if (nodeName === name) throw wrong("--node-name", `${nodeName} is the cluster's own name; the two must differ`);
  const nodeAddress = await addressOf("--node-address", options.nodeAddress, nodeName);
  if (options.nodeAddress === undefined && isLoopback(nodeAddress))
    throw wrong("--node-address", `${nodeName} resolves to ${nodeAddress}, by which no other machine reaches this one`);
  const masterIp = await addressOf("--master-ip", options.masterIp, name);
  if (isIP(masterIp) !== isIP(nodeAddress))
    throw wrong("--master-ip", `${masterIp} and the node's ${nodeAddress} are not of the same kind`);
  const masterNetdev = options.masterNetdev ?? deviceOf(nodeAddress);
  await checkDevice(masterNetdev);
  const { vgName, secondaryAddress, masterNetmask } = options;
  if (vgName !== undefined) await checkVolumeGroup(vgName, runner);
  if (secondaryAddress !== undefined && isIP(secondaryAddress) === 0)
    throw wrong("--secondary-address", `${secondaryAddress} is no IP address`);
  const standardTemplates = vgName === undefined ? "file,diskless" : "plain,drbd,file,diskless";
  const diskTemplates = listed(
    "--enabled-disk-templates",
    options.enabledDiskTemplates ?? standardTemplates,
    DISK_TEMPLATES,
  );
  const needsVolumeGroup = diskTemplates.find((template) => template === "plain" || template === "drbd");
  if (needsVolumeGroup !== undefined && vgName === undefined)
    throw wrong("--enabled-disk-templates", `${needsVolumeGroup} needs a volume group: --vg-name`);
  if (!path.isAbsolute(options.fileStorageDir)) throw wrong("--file-storage-dir", "it must be an absolute path");
  return {
    name,
    masterIp,
    ...(masterNetmask === undefined
      ? {}
      : { masterNetmask: number("--master-netmask", masterNetmask, isIP(masterIp) === 4 ? 32 : 128) }),
    masterNetdev,
    hypervisors: listed("--enabled-hypervisors", options.enabledHypervisors, HYPERVISORS),
    diskTemplates,
    ...(vgName === undefined ? {} : { volumeGroup: vgName }),
    nicParameters: nicParameters(options.nicParameters),
    nodeName,
    nodeAddress,
    ...(secondaryAddress === undefined ? {} : { secondaryAddress }),
    fileStorageDir: path.normalize(options.fileStorageDir),
    ports: {
      rapi: number("--rapi-port", options.rapiPort, 65_535),
      agent: number("--agent-port", options.agentPort, 65_535),
      redis: number("--redis-port", options.redisPort, 65_535),
      sentinel: number("--sentinel-port", options.sentinelPort, 65_535),
    },
  };
}

/** By which others know this machine: a host name without a domain is completed as `hostname --fqdn` does it. */
async function ownName(): Promise<string> {
  const name = hostname();
  if (name.includes(".")) return name;
  try {
    const { hostname: full } = await lookupService((await lookup(name)).address, 0);
    return full.startsWith(`${name}.`) ? full : name;
  } catch {
    return name;
  }
}

async function addressOf(option: string, given: string | undefined, name: string): Promise<string> {
  if (given !== undefined) {
    if (isIP(given) === 0) throw wrong(option, `${given} is no IP address`);
    return given;
  }
  const found = await lookup(name).catch((cause: NodeJS.ErrnoException) => {
    throw new OpPrereqError(
      `${name} cannot be resolved (${cause.code}): enter it into DNS or /etc/hosts, or give ${option}`,
      "resolver_error",
      {
        cause,
      },
    );
  });
  return found.address;
}

function isLoopback(address: string): boolean {
  return address.startsWith("127.") || address === "::1";
}

function deviceOf(address: string): string {
  const found = Object.entries(networkInterfaces()).find(([, own]) => own?.some((each) => each.address === address));
  if (found === undefined)
    throw wrong(
      "--master-netdev",
      `this machine has no interface with ${address}; name the one that is to carry the cluster's address`,
    );
  return found[0];
}

async function checkDevice(device: string): Promise<void> {
  if (!/^[\w.:@-]{1,15}$/.test(device))
    throw wrong("--master-netdev", `${JSON.stringify(device)} is no network interface's name`);
  await access(path.join(NETWORK_DEVICES, device)).catch(() => {
    throw wrong("--master-netdev", `this machine has no network interface ${device}`);
  });
}

async function checkVolumeGroup(group: string, runner: CommandRunner): Promise<void> {
  if (!/^[\w+.][\w+.-]{0,126}$/.test(group))
    throw wrong("--vg-name", `${JSON.stringify(group)} is no volume group's name`);
  const argv = [VGS, "--noheadings", "--options", "vg_name", "--", group] as const;
  await runner.run({ argv, timeoutMs: COMMAND_TIMEOUT_MS }).catch((cause: Error) => {
    throw new OpPrereqError(
      `There is no volume group ${group} on this machine: make it by vgcreate`,
      "environment_error",
      { cause },
    );
  });
}

function listed<Name extends string>(option: string, text: string, known: readonly Name[]): readonly [Name, ...Name[]] {
  const names = text.split(",").map((name) => name.trim());
  const unknown = names.find((name) => !(known as readonly string[]).includes(name));
  if (unknown !== undefined)
    throw wrong(option, `there is no ${JSON.stringify(unknown)}; there are ${known.join(", ")}`);
  const [first, ...others] = [...new Set(names)] as Name[];
  if (first === undefined) throw wrong(option, "it names none");
  return [first, ...others];
}

function nicParameters(text: string): Parameters {
  const given = Object.fromEntries(
    text.split(",").map((setting) => {
      const [, name, value] = /^(mode|link|vlan)=(.*)$/.exec(setting.trim()) ?? [];
      if (name === undefined)
        throw wrong("--nic-parameters", `${JSON.stringify(setting)} is not mode=…, link=… or vlan=…`);
      return [name, value ?? ""];
    }),
  );
  const filled: Parameters = { vlan: "", ...STANDARD_NIC, ...given };
  // A routed NIC needs an address, which this is no matter of.
  checkNicParameters(filled, filled.mode === "routed" ? "192.0.2.1" : null);
  return filled;
}

function number(option: string, text: string, max: number): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (value < 1 || value > max) throw wrong(option, `"${text}" is no number from 1 to ${max}`);
  return value;
}

function wrong(option: string, reason: string): OpPrereqError {
  return new OpPrereqError(`${option}: ${reason}`, "wrong_input");
}

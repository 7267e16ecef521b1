/** The file from which lxc makes a container (spec/node-ops.json, `hv.lxc.conf_keys`; lxc.container.conf(5)). Pure. */
import type { GuestNic, GuestSpec } from "@gannet/driver-contract";
import { GannetError, HypervisorError } from "@gannet/errors";
import { isInterfaceName, normalizeMac } from "@gannet/objects";
import type { Container } from "../container/container-backend.ts";
import type { CgroupVersion } from "./cgroups.ts";
import { STOP_HOOK } from "./container-end.ts";

export interface LxcConfigInput {
  readonly container: Container;
  readonly cgroups: CgroupVersion;
  /** Whether a limit of memory and swap together can be set under version 1. */
  readonly swapCounted: boolean;
}

type Line = readonly [key: string, value: string | number];

const BYTES_PER_MIB = 1024 * 1024;
const PSEUDO_TERMINALS = 255;
const CAPABILITY = /^[a-z0-9_]+$/;
const DEVICE = /^(?:a|[bc] (?:\d+|\*):(?:\d+|\*) [rwm]{1,3})$/;
const EXTRA = /^lxc\.[\w.]+ *= *\S.*$/;
/** What a system expects to be mounted; lxc's own names for the protected kinds need no more rights. */
const MOUNTS = ["proc proc proc nodev,noexec,nosuid 0 0", "sysfs sys sysfs nodev,noexec,nosuid 0 0"];

/** @throws HypervisorError naming the parameter or NIC that cannot be had */
export function lxcConfig({ container, cgroups, swapCounted }: LxcConfigInput): string {
  const { guest, place } = container;
  const lines: Line[] = [
    ["lxc.uts.name", guest.name],
    ["lxc.pty.max", PSEUDO_TERMINALS],
    ["lxc.tty.max", Number(guest.hvparams.num_ttys)],
    ["lxc.console.logfile", `${place.logFile}.console`],
    ["lxc.rootfs.path", `dir:${place.root}`],
    ["lxc.hook.stop", STOP_HOOK],
    ...MOUNTS.map((mount): Line => ["lxc.mount.entry", mount]),
    ...limits(guest, cgroups, swapCounted),
    ...guest.nics.flatMap((nic) => nicLines(guest, nic)),
    ...capabilities(guest),
  ];
  return [...lines.map(([key, value]) => `${key} = ${value}`), ...extraLines(guest), ""].join("\n");
}

function limits(guest: GuestSpec, cgroups: CgroupVersion, swapCounted: boolean): readonly Line[] {
  const bytes = guest.maxMemoryMib * BYTES_PER_MIB;
  const devices = wordsOf(guest, "devices");
  const wrong = devices.find((device) => !DEVICE.test(device));
  if (wrong !== undefined) throw refused(guest, "devices", `${JSON.stringify(wrong)} is not like c 1:3 rw`);
  const cpus = String(guest.hvparams.cpu_mask);
  const prefix = cgroups === "v2" ? "lxc.cgroup2" : "lxc.cgroup";
  const memory: readonly Line[] =
    cgroups === "v2"
      ? [
          [`${prefix}.memory.max`, bytes],
          [`${prefix}.memory.swap.max`, 0],
        ]
      : [
          [`${prefix}.memory.limit_in_bytes`, bytes],
          ...(swapCounted ? ([[`${prefix}.memory.memsw.limit_in_bytes`, bytes]] as const) : []),
        ];
  return [
    ...(cpus === "" ? [] : ([[`${prefix}.cpuset.cpus`, cpus]] as const)),
    ...memory,
    [`${prefix}.devices.deny`, "a"],
    ...devices.map((device): Line => [`${prefix}.devices.allow`, device]),
  ];
}

function nicLines(guest: GuestSpec, nic: GuestNic): readonly Line[] {
  const problem = nicProblem(nic);
  if (problem !== undefined) throw new HypervisorError(`Instance ${guest.name}, NIC ${nic.index}: ${problem}`);
  const prefix = `lxc.net.${nic.index}`;
  return [
    [`${prefix}.type`, "veth"],
    [`${prefix}.link`, nic.link],
    [`${prefix}.hwaddr`, nic.mac],
    [`${prefix}.flags`, "up"],
  ];
}

/** lxc joins its interface to a bridge, or a switch of Open vSwitch. */
function nicProblem({ mode, link, mac, vlan }: GuestNic): string | undefined {
  if (mode !== "bridged" && mode !== "openvswitch") return `mode ${mode} cannot be had with lxc`;
  if (vlan !== "") return "a vlan cannot be had with lxc";
  if (!isInterfaceName(link)) return `link ${JSON.stringify(link)} is not the name of an interface`;
  try {
    return normalizeMac(mac) === mac ? undefined : `MAC address ${mac} is not in lower case`;
  } catch (error) {
    if (error instanceof GannetError) return error.message;
    throw error;
  }
}

function capabilities(guest: GuestSpec): readonly Line[] {
  const dropped = wordsOf(guest, "drop_capabilities");
  const wrong = dropped.find((capability) => !CAPABILITY.test(capability));
  if (wrong !== undefined) throw refused(guest, "drop_capabilities", `${JSON.stringify(wrong)} is no capability`);
  return dropped.length === 0 ? [] : [["lxc.cap.drop", dropped.join(" ")]];
}

function extraLines(guest: GuestSpec): readonly string[] {
  const lines = wordsOf(guest, "extra_config");
  const wrong = lines.find((line) => !EXTRA.test(line));
  if (wrong !== undefined) throw refused(guest, "extra_config", `${JSON.stringify(wrong)} is not like lxc.key = value`);
  return lines;
}

/** A list separated by commas. */
export function wordsOf(guest: GuestSpec, parameter: string): readonly string[] {
  return String(guest.hvparams[parameter] ?? "")
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
}

function refused(guest: GuestSpec, parameter: string, why: string): HypervisorError {
  return new HypervisorError(`Instance ${guest.name}: ${parameter}: ${why}`);
}

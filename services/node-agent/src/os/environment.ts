/**
 * The environment of an OS definition's scripts (spec/os-iallocator-hooks.json, `env_common` to `env_extra`;
 * ganeti-os-interface(7)). Scripts get these variables, `LC_ALL=C`, and nothing of the agent's own environment.
 */
import type { AttachedDevice, GuestDisk, GuestNic, GuestSpec } from "@gannet/driver-contract";
import type { HypervisorName, Parameters, ParameterValue } from "@gannet/objects";
import type { OsDefinition } from "./definition.ts";
import type { OsName } from "./os-name.ts";

export type Environment = Readonly<Record<string, string>>;

const PATH = "/sbin:/bin:/usr/sbin:/usr/bin";

export interface CoreFacts {
  readonly definition: Pick<OsDefinition, "name" | "apiVersion" | "variants">;
  readonly variant: OsName["variant"];
  readonly parameters: Readonly<Record<string, string>>;
  readonly debugLevel: number;
}

export interface InstanceFacts {
  readonly guest: GuestSpec;
  /** As the instance has it, with its variant. */
  readonly os: string;
  readonly beparams: Parameters;
  /** Seconds since 1970. */
  readonly ctime: number;
  readonly mtime: number;
  /** UUIDs of nodes. */
  readonly primaryNode: string;
  readonly secondaryNodes: readonly string[];
}

/** What every script gets; all that `verify` gets. */
export function coreEnvironment({ definition, variant, parameters, debugLevel }: CoreFacts): Environment {
  const { apiVersion, name, variants } = definition;
  return {
    OS_API_VERSION: String(apiVersion),
    OS_NAME: name,
    DEBUG_LEVEL: String(debugLevel),
    PATH,
    ...(apiVersion >= 15 && { OS_VARIANT: variant ?? variants[0] ?? "" }),
    ...(apiVersion >= 20 && prefixed(parameters, (parameter) => `OSP_${parameter.toUpperCase().replaceAll("-", "_")}`)),
  };
}

/** What scripts that work on an instance get besides. */
export function instanceEnvironment(facts: InstanceFacts): Environment {
  const { guest } = facts;
  return {
    INSTANCE_NAME: guest.name,
    INSTANCE_UUID: guest.uuid,
    INSTANCE_OS: facts.os,
    INSTANCE_CTIME: floatText(facts.ctime),
    INSTANCE_MTIME: floatText(facts.mtime),
    INSTANCE_PRIMARY_NODE: facts.primaryNode,
    INSTANCE_SECONDARY_NODES: facts.secondaryNodes.join(" "),
    HYPERVISOR: guest.hypervisor,
    DISK_COUNT: String(guest.disks.length),
    NIC_COUNT: String(guest.nics.length),
    ...prefixed(facts.beparams, (key) => `INSTANCE_BE_${key}`),
    ...prefixed(guest.hvparams, (key) => `INSTANCE_HV_${key}`),
    ...numbered("DISK", guest.disks, (disk) => diskVariables(disk, guest)),
    ...numbered("NIC", guest.nics, (nic) => nicVariables(nic, guest.hvparams.nic_type)),
  };
}

/** What an import or export script gets besides: the one disk it works on, which need not be one of the instance's. */
export function transferEnvironment(
  direction: "IMPORT" | "EXPORT",
  disk: Pick<AttachedDevice, "path" | "uris">,
  { hypervisor, index }: { readonly hypervisor: HypervisorName; readonly index: number },
): Environment {
  return prefixed(
    { DEVICE: pathOf(disk), DISK_PATH: pathOf(disk), DISK_URI: disk.uris?.[hypervisor], INDEX: index },
    (variable) => `${direction}_${variable}`,
  );
}

type Variables = Readonly<Record<string, ParameterValue | undefined>>;

function diskVariables(disk: GuestDisk, { hypervisor, hvparams }: GuestSpec): Variables {
  return {
    PATH: pathOf(disk),
    URI: disk.uris?.[hypervisor],
    ACCESS: disk.access,
    UUID: disk.uuid,
    SIZE: disk.sizeMib,
    NAME: disk.name ?? undefined,
    FRONTEND_TYPE: hvparams.disk_type,
    BACKEND_TYPE: disk.kind === "block" ? "block" : `file:${disk.fileDriver ?? "loop"}`,
  };
}

/** Some disks are only reached by their address. */
function pathOf({ path }: Pick<AttachedDevice, "path">): string | undefined {
  return path === "" ? undefined : path;
}

function nicVariables(nic: GuestNic, frontend: ParameterValue | undefined): Variables {
  return {
    MAC: nic.mac,
    UUID: nic.uuid,
    NAME: nic.name ?? undefined,
    IP: nic.ip ?? undefined,
    MODE: nic.mode,
    BRIDGE: nic.mode === "bridged" ? nic.link : undefined,
    LINK: nic.link || undefined,
    FRONTEND_TYPE: frontend,
    ...networkVariables(nic.network),
  };
}

function networkVariables(network: GuestNic["network"]): Variables {
  if (network === undefined) return {};
  return {
    NETWORK_NAME: network.name,
    NETWORK_UUID: network.uuid,
    NETWORK_TAGS: network.tags.join(" "),
    NETWORK_SUBNET: network.subnet ?? undefined,
    NETWORK_GATEWAY: network.gateway ?? undefined,
    NETWORK_SUBNET6: network.subnet6 ?? undefined,
    NETWORK_GATEWAY6: network.gateway6 ?? undefined,
    NETWORK_MAC_PREFIX: network.macPrefix ?? undefined,
  };
}

/** `DISK_0_PATH`, `DISK_1_PATH`, …; what is undefined is left out. */
function numbered<Item>(kind: string, items: readonly Item[], variables: (item: Item) => Variables): Environment {
  return Object.assign(
    {},
    ...items.map((item, index) => prefixed(variables(item), (variable) => `${kind}_${index}_${variable}`)),
  );
}

function prefixed(values: Variables, name: (key: string) => string): Environment {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[name(key), textOf(value)]])),
  );
}

/** As Python prints it, because that is what scripts written for Ganeti compare with. */
function textOf(value: ParameterValue): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return String(value);
}

function floatText(seconds: number): string {
  return Number.isInteger(seconds) ? seconds.toFixed(1) : String(seconds);
}

/** Fields of instances. */
import type { Disk } from "@gannet/objects";
import {
  BACKEND_PARAMETERS,
  diskUsageMib,
  GLOBAL_HYPERVISOR_PARAMETERS,
  HYPERVISOR_PARAMETERS,
  MAX_DISKS,
  MAX_NICS,
} from "@gannet/objects";
import type { Field, FieldKind } from "../field.ts";
import { live, optional, stampFields, stored } from "../field.ts";
import { available, normal } from "../result-status.ts";
import type { FilledNic } from "./instance-context.ts";
import { InstanceContext } from "./instance-context.ts";
import { kindOfParameter } from "./parameter-kind.ts";

export { InstanceContext };

/** One template for all disks, `mixed` for several, and `diskless` without any. */
function diskTemplate(disks: readonly Disk[]): string {
  const templates = new Set(disks.map(({ template }) => template));
  const [first = "diskless"] = templates;
  return templates.size > 1 ? "mixed" : first;
}

function diskUsage(disks: readonly Disk[]): number {
  return disks.reduce((sum, { template, sizeMib }) => sum + diskUsageMib(template, sizeMib), 0);
}

const OWN_FIELDS: readonly Field<InstanceContext>[] = [
  stored("name", "Instance", "text", "Name of the instance", ({ instance }) => instance.name, { match: "host" }),
  stored(
    "admin_state",
    "InstanceState",
    "text",
    "What the operator wants: up, down or offline",
    ({ instance }) => instance.adminState,
  ),
  stored(
    "admin_state_source",
    "InstanceStateSource",
    "text",
    "Who wanted that: admin or user",
    ({ instance }) => instance.adminStateSource,
  ),
  stored(
    "admin_up",
    "Autostart",
    "bool",
    "Whether the instance should run",
    ({ instance }) => instance.adminState === "up",
  ),
  stored(
    "disks_active",
    "DisksActive",
    "bool",
    "Whether its disks should be assembled",
    ({ instance }) => instance.disksActive,
  ),
  stored("hypervisor", "Hypervisor", "text", "Hypervisor", ({ instance }) => instance.hypervisor),
  optional("network_port", "Network_port", "other", "TCP port of its graphical console", ({ instance }) =>
    available(instance.networkPort),
  ),
  stored("os", "OS", "text", "Operating system", ({ instance }) => instance.os),
  optional("pnode", "Primary_node", "text", "Primary node", ({ primary }) => available(primary?.name), {
    match: "host",
  }),
  optional("pnode.group", "PrimaryNodeGroup", "text", "Node group of the primary node", ({ primaryGroup }) =>
    available(primaryGroup?.name),
  ),
  optional("pnode.group.uuid", "PrimaryNodeGroupUUID", "text", "UUID of the primary node's group", ({ primary }) =>
    available(primary?.group),
  ),
  stored("snodes", "Secondary_Nodes", "other", "Secondary nodes", (row) => row.secondaries.map(({ name }) => name)),
  stored("snodes.group", "SecondaryNodesGroups", "other", "Node groups of the secondary nodes", (row) =>
    row.secondaryGroups.map(({ name }) => name),
  ),
  stored("snodes.group.uuid", "SecondaryNodesGroupsUUID", "other", "UUIDs of those groups", (row) =>
    row.secondaryGroups.map(({ uuid }) => uuid),
  ),
  stored(
    "hvparams",
    "HypervisorParameters",
    "other",
    "Hypervisor parameters, with inherited ones",
    (row) => row.hvparams,
  ),
  stored("beparams", "BackendParameters", "other", "Backend parameters, with inherited ones", (row) => row.beparams),
  stored("osparams", "OpSysParameters", "other", "OS parameters, with inherited ones", (row) => row.osparams),
  stored(
    "custom_hvparams",
    "CustomHypervisorParameters",
    "other",
    "Its own hypervisor parameters",
    ({ instance }) => instance.hvparams,
  ),
  stored(
    "custom_beparams",
    "CustomBackendParameters",
    "other",
    "Its own backend parameters",
    ({ instance }) => instance.beparams,
  ),
  stored(
    "custom_osparams",
    "CustomOpSysParameters",
    "other",
    "Its own OS parameters",
    ({ instance }) => instance.osparams,
  ),
  stored("custom_nicparams", "CustomNicParameters", "other", "Its NICs' own parameters", ({ instance }) =>
    instance.nics.map(({ nicparams }) => nicparams),
  ),
  stored("disk_usage", "DiskUsage", "unit", "Space that its disks take on each node", ({ disks }) => diskUsage(disks)),
  stored("disk_template", "Disk_template", "text", "Template of its disks", ({ disks }) => diskTemplate(disks)),
  stored(
    "forthcoming",
    "Forthcoming",
    "bool",
    "Whether the instance is only planned",
    ({ instance }) => instance.forthcoming,
  ),
  live("status", "Status", "text", "Whether the instance is as it should be", (row) => normal(row.status)),
  live("oper_state", "Running", "bool", "Whether it runs", (row) => row.reported(() => normal(row.isRunning))),
  live("console", "Console", "other", "How to reach its console", (row) => row.console()),
  live("oper_ram", "Memory", "unit", "Memory that it has now", (row) => row.reportedRunning((seen) => seen.memoryMib)),
  live("oper_vcpus", "VCPUs", "number", "Virtual processors that it has now", (row) =>
    row.reportedRunning((seen) => seen.vcpus),
  ),
];

/** A property of disks or NICs: the list of all under one name, and each by its index under another. */
interface PerItem<Item> {
  readonly list?: readonly [name: string, title: string];
  readonly each: readonly [name: string, title: string, kind: FieldKind];
  readonly doc: string;
  readonly value: (item: Item) => unknown;
}

const PER_DISK: readonly PerItem<Disk>[] = [
  {
    list: ["disk.sizes", "Disk_sizes"],
    each: ["disk.size", "Disk", "unit"],
    doc: "size",
    value: (disk) => disk.sizeMib,
  },
  {
    list: ["disk.spindles", "Disk_spindles"],
    each: ["disk.spindles", "DiskSpindles", "number"],
    doc: "spindles",
    value: (disk) => disk.spindles,
  },
  {
    list: ["disk.names", "Disk_names"],
    each: ["disk.name", "DiskName", "text"],
    doc: "name",
    value: (disk) => disk.name,
  },
  {
    list: ["disk.uuids", "Disk_UUIDs"],
    each: ["disk.uuid", "DiskUUID", "text"],
    doc: "UUID",
    value: (disk) => disk.uuid,
  },
];

const PER_NIC: readonly PerItem<FilledNic>[] = [
  {
    list: ["nic.macs", "NIC_MACs"],
    each: ["nic.mac", "NicMAC", "text"],
    doc: "MAC address",
    value: ({ nic }) => nic.mac,
  },
  { list: ["nic.ips", "NIC_IPs"], each: ["nic.ip", "NicIP", "text"], doc: "IP address", value: ({ nic }) => nic.ip },
  {
    list: ["nic.names", "NIC_Names"],
    each: ["nic.name", "NicName", "text"],
    doc: "name",
    value: ({ nic }) => nic.name,
  },
  {
    list: ["nic.uuids", "NIC_UUIDs"],
    each: ["nic.uuid", "NicUUID", "text"],
    doc: "UUID",
    value: ({ nic }) => nic.uuid,
  },
  { list: ["nic.modes", "NIC_modes"], each: ["nic.mode", "NicMode", "text"], doc: "mode", value: ({ mode }) => mode },
  { list: ["nic.vlans", "NIC_VLANs"], each: ["nic.vlan", "NicVLAN", "text"], doc: "VLANs", value: ({ vlan }) => vlan },
  {
    list: ["nic.bridges", "NIC_bridges"],
    each: ["nic.bridge", "NicBridge", "text"],
    doc: "bridge",
    value: ({ bridge }) => bridge,
  },
  { list: ["nic.links", "NIC_links"], each: ["nic.link", "NicLink", "text"], doc: "link", value: ({ link }) => link },
  {
    list: ["nic.networks", "NIC_networks"],
    each: ["nic.network", "NicNetwork", "text"],
    doc: "network's UUID",
    value: ({ nic }) => nic.network,
  },
  {
    list: ["nic.networks.names", "NIC_networks_names"],
    each: ["nic.network.name", "NicNetworkName", "text"],
    doc: "network's name",
    value: ({ network }) => network?.name ?? null,
  },
];

function itemFields<Item>(
  what: string,
  properties: readonly PerItem<Item>[],
  most: number,
  items: (row: InstanceContext) => readonly Item[],
): readonly Field<InstanceContext>[] {
  return properties.flatMap(({ list, each: [name, title, kind], doc, value }) => [
    ...(list === undefined
      ? []
      : [stored<InstanceContext>(...list, "other", `Of each ${what}, its ${doc}`, (row) => items(row).map(value))]),
    ...Array.from({ length: most }, (_, index) =>
      optional<InstanceContext>(
        `${name}/${index}`,
        `${title}/${index}`,
        kind,
        `Of ${what} ${index}, its ${doc}`,
        (row) => {
          const item = items(row)[index];
          return item === undefined ? available(undefined) : available(value(item));
        },
      ),
    ),
  ]);
}

const BACKEND_TITLES: Readonly<Record<string, string>> = {
  auto_balance: "Auto_balance",
  maxmem: "ConfigMaxMem",
  minmem: "ConfigMinMem",
  vcpus: "ConfigVCPUs",
};

const HYPERVISOR_TITLES: Readonly<Record<string, string>> = {
  acpi: "ACPI",
  boot_order: "Boot_order",
  cdrom_image_path: "CDROM_image_path",
  cpu_type: "cpu_type",
  disk_type: "Disk_type",
  initrd_path: "Initrd_path",
  kernel_path: "Kernel_path",
  nic_type: "NIC_type",
  pae: "PAE",
  pci_pass: "pci_pass",
  vnc_bind_address: "VNC_bind_address",
};

function backendFields(): readonly Field<InstanceContext>[] {
  return Object.entries(BACKEND_PARAMETERS).map(([name, { type, doc }]) =>
    stored(`be/${name}`, BACKEND_TITLES[name] ?? `be/${name}`, kindOfParameter(type), doc, (row) => row.beparams[name]),
  );
}

/** One field for each parameter of any hypervisor; unavailable where the instance's own does not have it. */
function hypervisorFields(): readonly Field<InstanceContext>[] {
  const tables = Object.values(HYPERVISOR_PARAMETERS).flatMap((table) => Object.entries(table));
  return [...new Map(tables)]
    .filter(([name]) => !GLOBAL_HYPERVISOR_PARAMETERS.has(name))
    .map(([name, { type, doc }]) =>
      optional(`hv/${name}`, HYPERVISOR_TITLES[name] ?? `hv/${name}`, kindOfParameter(type), doc, ({ hvparams }) =>
        name in hvparams ? normal(hvparams[name]) : available(undefined),
      ),
    );
}

/** Older names, each with the field that it stands for. */
const ALIASES: Readonly<Record<string, string>> = {
  vcpus: "be/vcpus",
  "be/memory": "be/maxmem",
  sda_size: "disk.size/0",
  sdb_size: "disk.size/1",
  ip: "nic.ip/0",
  mac: "nic.mac/0",
  bridge: "nic.bridge/0",
  nic_mode: "nic.mode/0",
  nic_link: "nic.link/0",
  nic_network: "nic.network/0",
};

const FIELDS: readonly Field<InstanceContext>[] = [
  ...OWN_FIELDS,
  stored("disk.count", "Disks", "number", "Number of disks", ({ disks }) => disks.length),
  stored("nic.count", "NICs", "number", "Number of NICs", ({ nics }) => nics.length),
  ...itemFields("disk", PER_DISK, MAX_DISKS, ({ disks }) => disks),
  ...itemFields("NIC", PER_NIC, MAX_NICS, ({ nics }) => nics),
  ...backendFields(),
  ...hypervisorFields(),
  ...stampFields<InstanceContext>("instance", ({ instance }) => instance),
];

export const INSTANCE_FIELDS: readonly Field<InstanceContext>[] = [
  ...FIELDS,
  ...Object.entries(ALIASES).flatMap(([alias, target]) =>
    FIELDS.filter(({ name }) => name === target).map((field) => ({ ...field, name: alias })),
  ),
];

/** Parameters that are not a hypervisor's: of nodes, NICs, disks and what an instance is given (spec/config.json). */
import type { DiskTemplate } from "./names.ts";
import { NIC_MODES } from "./names.ts";
import type { ParameterTable } from "./parameter-table.ts";

/** `beparams`: what an instance is given. */
export const BACKEND_PARAMETERS = {
  always_failover: { type: "bool", default: false, doc: "Whether the instance is failed over instead of migrated" },
  auto_balance: { type: "bool", default: true, doc: "Whether the instance counts in balancing and capacity" },
  maxmem: { type: "size", default: 128, min: 1, doc: "Most memory, in MiB" },
  minmem: { type: "size", default: 128, min: 1, doc: "Least memory that the instance starts with, in MiB" },
  spindle_use: { type: "int", default: 1, min: 0, doc: "Disk load, in spindles" },
  vcpus: { type: "int", default: 1, min: 1, doc: "Virtual processors" },
} as const satisfies ParameterTable;

/** What a NIC can be: `pool` is a word for its address, not a mode. */
const NIC_MODE_CHOICES = NIC_MODES.filter((mode) => mode !== "pool");

/** `nicparams`: how a NIC is attached. */
export const NIC_PARAMETERS = {
  link: { type: "string", default: "xen-br0", doc: "Bridge, switch or routing table that the NIC is attached to" },
  mode: { type: "string", default: "bridged", required: true, choices: NIC_MODE_CHOICES, doc: "How it is attached" },
  vlan: { type: "string", default: "", doc: "VLANs of the NIC on an Open vSwitch: .10, :10:20 or .10:20" },
} as const satisfies ParameterTable;

/** `ndparams`: of a node. */
export const NODE_PARAMETERS = {
  cpu_speed: { type: "float", default: 1, min: 0, doc: "Speed of the processors, relative to other nodes" },
  exclusive_storage: {
    type: "bool",
    default: false,
    global: true,
    doc: "Whether each disk has physical volumes of its own",
  },
  oob_program: {
    type: "string",
    default: "",
    syntax: "absolute-path",
    doc: "Program that switches the node's power and tells its health",
    needsRoot: "any-value",
  },
  ovs: { type: "bool", default: false, doc: "Whether an Open vSwitch is set up on the node" },
  ovs_link: { type: "maybe-string", default: "", doc: "Interface that connects the Open vSwitch to the outside" },
  ovs_name: { type: "maybe-string", default: "switch1", doc: "Name of the Open vSwitch" },
  spindle_count: { type: "int", default: 1, min: 0, doc: "Disk throughput, in spindles" },
  ssh_port: { type: "int", default: 22, min: 1, max: 65_535, doc: "TCP port of the node's SSH daemon" },
} as const satisfies ParameterTable;

const ACCESS = {
  access: {
    type: "string",
    default: "kernelspace",
    required: true,
    choices: ["kernelspace", "userspace"],
    doc: "Whether the kernel or the hypervisor opens the disk",
  },
} as const satisfies ParameterTable;

const count = (value: number, doc: string) => ({ type: "int", default: value, min: 1, doc }) as const;
const amount = (value: number, doc: string) => ({ type: "int", default: value, min: 0, doc }) as const;

/** Not Ganeti's, whose files are all raw. */
const FILE_FORMAT: ParameterTable = {
  format: {
    type: "string",
    default: "raw",
    required: true,
    choices: ["raw", "qcow2"],
    doc: "Format of new disks; those that are there keep theirs",
  },
};

/** `diskparams`: of each disk template. */
export const DISK_PARAMETERS: Readonly<Record<DiskTemplate, ParameterTable>> = {
  blockdev: {},
  diskless: {},
  drbd: {
    "c-delay-target": amount(1, "Delay that the resync controller aims at, in tenths of a second"),
    "c-fill-target": amount(0, "Data in flight that the resync controller aims at, in sectors; 0 uses the delay"),
    "c-max-rate": amount(61_440, "Most that a controlled resync may take, in KiB a second"),
    "c-min-rate": amount(4096, "Least that a controlled resync may take, in KiB a second"),
    "c-plan-ahead": amount(20, "How far the resync controller plans, in tenths of a second"),
    "data-stripes": count(1, "Stripes of the data volume"),
    "disk-barriers": { type: "string", default: "n", syntax: "drbd-barriers", doc: "Write barriers to disable" },
    "disk-custom": { type: "string", default: "", doc: "More arguments for the disk command" },
    "dynamic-resync": { type: "bool", default: false, doc: "Whether the resync rate is controlled by the load" },
    "meta-barriers": { type: "bool", default: false, doc: "Whether flushes of the metadata device are disabled" },
    "meta-stripes": count(1, "Stripes of the metadata volume"),
    metavg: { type: "string", default: "xenvg", doc: "Volume group of the metadata volume" },
    "net-custom": { type: "string", default: "", doc: "More arguments for the network command" },
    protocol: {
      type: "string",
      default: "C",
      required: true,
      choices: ["A", "B", "C"],
      doc: "When a write counts as done: local, sent, or written on both nodes",
    },
    "resync-rate": amount(61_440, "Speed of a resync, in KiB a second"),
  },
  ext: ACCESS,
  file: FILE_FORMAT,
  gluster: {
    ...ACCESS,
    host: { type: "string", default: "127.0.0.1", required: true, doc: "Host that serves the volume" },
    port: { type: "int", default: 24_007, min: 1, max: 65_535, doc: "TCP port of that host" },
    volume: { type: "string", default: "gv0", required: true, doc: "Volume" },
  },
  plain: { stripes: count(1, "Stripes of the volume") },
  rbd: {
    ...ACCESS,
    pool: { type: "string", default: "rbd", required: true, doc: "Pool that holds the images" },
    "user-id": { type: "string", default: "", doc: "User that opens the images" },
  },
  sharedfile: FILE_FORMAT,
};

/** Parameters of lxc, chroot and fake (spec/config.json, `hypervisors`). */
import type { ParameterTable } from "../parameter-table.ts";

export const LXC_PARAMETERS = {
  cpu_mask: { type: "string", default: "", syntax: "cpu-list", doc: "Processors of the node that the guest may use" },
  devices: {
    type: "string",
    default: "c 1:3 rw,c 1:5 rw,c 1:7 rw,c 1:8 rw,c 1:9 rw,c 1:10 rw,c 5:0 rw,c 5:1 rw,c 5:2 rw,c 136:* rw",
    doc: "Devices that the guest may use, separated by commas",
    needsRoot: "any-value",
  },
  drop_capabilities: {
    type: "string",
    default: "mac_override,sys_boot,sys_module,sys_time,sys_admin",
    doc: "Capabilities taken from the guest, separated by commas",
    needsRoot: "any-value",
  },
  extra_cgroups: { type: "string", default: "", doc: "More cgroup controllers, separated by commas" },
  extra_config: {
    type: "string",
    default: "",
    doc: "More configuration lines, separated by commas",
    needsRoot: "any-value",
  },
  num_ttys: { type: "int", default: 6, required: true, min: 0, doc: "Terminals of the guest" },
  startup_timeout: { type: "int", default: 30, min: 0, doc: "How long the guest may take to start, in seconds" },
} as const satisfies ParameterTable;

export const CHROOT_PARAMETERS = {
  init_script: {
    type: "string",
    default: "/ganeti-chroot",
    required: true,
    syntax: "absolute-path",
    doc: "Script inside the chroot that starts and stops it",
    needsRoot: "any-value",
  },
} as const satisfies ParameterTable;

export const FAKE_PARAMETERS = {
  migration_mode: {
    type: "string",
    default: "live",
    required: true,
    global: true,
    choices: ["live", "non-live"],
    doc: "Whether the guest runs while it is migrated",
  },
} as const satisfies ParameterTable;

/**
 * How parameters are spelled where an operator's fingers know another word than the parameter's own: Ganeti's short
 * letters and older long names (gnt-instance(8), gnt-node(8), gnt-cluster(8), gnt-backup(8)). A parameter that is not
 * here is its own name with dashes. What a parameter is, means and takes stands in its declaration only.
 */

/** For every command that has the parameter. */
const EVERYWHERE: Readonly<Record<string, string>> = {
  allow_runtime_changes: "--runtime-changes",
  beparams: "-B, --backend-parameters",
  disk_template: "-t, --disk-template",
  diskparams: "-D, --disk-parameters",
  force: "-f, --force",
  group_name: "-g, --node-group",
  hv_state: "--hypervisor-state",
  hvparams: "-H, --hypervisor-parameters",
  iallocator: "-I, --iallocator",
  ignore_offline_nodes: "--ignore-offline",
  mac_prefix: "-m, --mac-prefix",
  ndparams: "--node-parameters",
  nicparams: "-N, --nic-parameters",
  os_type: "-o, --os-type",
  osparams: "-O, --os-parameters",
  osparams_private: "--os-parameters-private",
  osparams_secret: "--os-parameters-secret",
  output_fields: "-o, --output",
  remote_node: "-n, --new-secondary",
  startup_paused: "--paused",
  storage_type: "-t, --storage-type",
  target_groups: "--to",
  target_node: "-n, --target-node",
};

/** For single commands; null: the command's own options say it (composite-options.ts). */
const OF_COMMAND: Readonly<Record<string, Readonly<Record<string, string | null>>>> = {
  "backup export": { target_node: "-n, --node" },
  "cluster modify": {
    candidate_pool_size: "-C, --candidate-pool-size",
    default_iallocator: "-I, --default-iallocator",
    osparams_private_cluster: "--os-parameters-private-cluster",
    uid_pool: null,
    add_uids: null,
    remove_uids: null,
    hidden_os: null,
    blacklisted_os: null,
  },
  "cluster renew-crypto": { node_certificates: "--new-node-certificates", renew_ssh_keys: "--new-ssh-keys" },
  "debug allocator": { mode: "-m, --mode", direction: "--dir" },
  "debug delay": { on_nodes: "-n, --node" },
  "instance add": { disks: null, nics: null, mode: null, hypervisor: null, hvparams: null, pnode: null, snode: null },
  "backup import": { disks: null, nics: null, hypervisor: null, hvparams: null, pnode: null, snode: null },
  "instance info": { static: "-s, --static" },
  "instance modify": {
    disks: null,
    nics: null,
    os_name: "--os-type",
    pnode: "--new-primary",
    offline: null,
    runtime_mem: "-m, --runtime-memory",
  },
  "instance migrate": { mode: null },
  "instance reboot": { reboot_type: "-t, --type" },
  "instance recreate-disks": { disks: null, nodes: null },
  "instance replace-disks": { mode: null },
  "node add": { group: "-g, --node-group", secondary_ip: "-s, --secondary-ip" },
  "node evacuate": { mode: null },
  "node migrate": { mode: null },
  "node modify": {
    drained: "-D, --drained",
    master_candidate: "-C, --master-candidate",
    offline: "-O, --offline",
    powered: "--node-powered",
    secondary_ip: "-s, --secondary-ip",
  },
  "node modify-storage": { changes: null },
};

/**
 * The option of a parameter, without what it takes: `-t, --disk-template`. Null: it has none of its own.
 * @param command `instance add`
 */
export function spellingOf(command: string, param: string): string | null {
  const own = OF_COMMAND[command];
  if (own !== undefined && Object.hasOwn(own, param)) return own[param] ?? null;
  return EVERYWHERE[param] ?? `--${param.replaceAll("_", "-")}`;
}

/** Every parameter named above, with the command it is named for; for the test that they exist. */
export function spelledParameters(): readonly (readonly [command: string | null, param: string])[] {
  return [
    ...Object.keys(EVERYWHERE).map((param): [null, string] => [null, param]),
    ...Object.entries(OF_COMMAND).flatMap(([command, params]) =>
      Object.keys(params).map((param): [string, string] => [command, param]),
    ),
  ];
}

/** Verbs that Ganeti's tools know by another name, by the command they stand for. */
export const OTHER_VERBS: Readonly<Record<string, readonly string[]>> = {
  "cluster master-failover": ["masterfailover"],
  "debug allocator": ["iallocator"],
  "group info": ["show"],
  "instance startup": ["start"],
  "instance shutdown": ["stop"],
  "instance reboot": ["restart"],
  "job info": ["show"],
  "job list": ["ls"],
  "instance list": ["ls"],
  "node list": ["ls"],
};

/** What a command's parameters are where neither option nor argument says. */
export const COMMAND_DEFAULTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "backup import": { disks: [], nics: [] },
  "instance add": { mode: "create", nics: [{}] },
  "instance reboot": { reboot_type: "hard" },
  "node evacuate": { mode: "all" },
  "node list-storage": { output_fields: ["node", "type", "name", "size", "used", "free", "allocatable"] },
  "node volumes": { output_fields: ["node", "phys", "vg", "name", "size", "instance"] },
  "debug allocator": { direction: "in", mode: "allocate", disks: [], nics: [] },
};

/** Configurations as Ganeti writes them, by hand: one of each version, with something of everything. */

export type Json = Record<string, unknown>;

/** A UUID that tells what it is of: `uuidOf("node", 1)`. */
export function uuidOf(
  kind: "cluster" | "group" | "node" | "network" | "instance" | "disk" | "nic" | "filter",
  n: number,
): string {
  const kinds = ["cluster", "group", "node", "network", "instance", "disk", "nic", "filter"];
  return `${String(kinds.indexOf(kind) + 1).repeat(8)}-0000-4000-8000-${String(n).padStart(12, "0")}`;
}

const stamps = (n: number) => ({ ctime: 1_500_000_000 + n, mtime: 1_500_000_100 + n, serial_no: n });
const NODES = [1, 2, 3].map((n) => uuidOf("node", n));

/** Ganeti 3.1's, with disks in a table of their own. */
export function configuration31(): Json {
  return {
    version: 3_010_000,
    cluster: cluster(),
    nodes: Object.fromEntries([1, 2, 3].map((n) => [uuidOf("node", n), node(n)])),
    nodegroups: {
      [uuidOf("group", 1)]: group(1, "default"),
      [uuidOf("group", 2)]: {
        ...group(2, "rack2"),
        alloc_policy: "last_resort",
        ndparams: { spindle_count: 4 },
        diskparams: { drbd: { "resync-rate": 100_000 } },
        ipolicy: { "vcpu-ratio": 2.5 },
        networks: { [uuidOf("network", 1)]: { mode: "bridged", link: "br7", vlan: "" } },
        tags: ["rack:2"],
      },
    },
    networks: {
      [uuidOf("network", 1)]: {
        ...stamps(5),
        uuid: uuidOf("network", 1),
        name: "frontend",
        network: "192.0.2.0/28",
        network6: "2001:db8::/64",
        gateway: "192.0.2.1",
        gateway6: null,
        mac_prefix: "aa:00:07",
        reservations: "0010000000000000",
        ext_reservations: "1100000000000001",
        tags: ["net"],
      },
    },
    instances: Object.fromEntries(
      TEMPLATES.map((template, n) => [uuidOf("instance", n + 1), instance(n + 1, template)]),
    ),
    disks: Object.fromEntries(
      TEMPLATES.flatMap((template, n) =>
        template === "diskless" ? [] : [[uuidOf("disk", n + 1), disk(n + 1, template)]],
      ),
    ),
    filters: {
      [uuidOf("filter", 1)]: {
        uuid: uuidOf("filter", 1),
        watermark: 12,
        priority: 3,
        predicates: [["jobid", [">", "id", "watermark"]]],
        action: "REJECT",
        reason_trail: [["gnt:user:root", "maintenance", 1_500_000_000_000_000_000]],
      },
    },
    ctime: 1_400_000_000.5,
    mtime: 1_600_000_000.25,
    serial_no: 4711,
  };
}

/** 2.16's: instances still say their template, newer settings of the cluster are missing. */
export function configuration216(): Json {
  const newer = configuration31();
  const instances = newer.instances as Record<string, Json>;
  for (const [n, template] of TEMPLATES.entries()) {
    const row = instances[uuidOf("instance", n + 1)] as Json;
    row.disk_template = template;
  }
  const { hv_state_static: _, disk_state_static: __, ...older } = newer.cluster as Json;
  return { ...newer, version: 2_160_000, cluster: older };
}

/** 2.13's: disks inside their instances, with the names of devices that it had, and no table of filters. */
export function configuration213(): Json {
  const { disks, filters: _, ...newer } = configuration216();
  const stored = disks as Record<string, Json>;
  const inline = (reference: unknown) => {
    const { ctime: __, mtime: ___, serial_no: ____, nodes: _____, ...row } = stored[String(reference)] as Json;
    const old = (device: Json): Json => ({
      ...device,
      physical_id: ["/dev/null", "x"],
      dev_type: { plain: "lvm", drbd: "drbd8" }[String(device.dev_type)] ?? device.dev_type,
      ...(Array.isArray(device.children) ? { children: (device.children as Json[]).map(old) } : {}),
    });
    return old(row);
  };
  const instances = Object.fromEntries(
    Object.entries(newer.instances as Record<string, Json>).map(([uuid, { admin_state_source: _s, ...row }]) => [
      uuid,
      { ...row, disks: (row.disks as unknown[]).map(inline) },
    ]),
  );
  const { ssh_key_type: _t, ssh_key_bits: _b, data_collectors: _d, ...cluster213 } = newer.cluster as Json;
  return { ...newer, version: 2_130_000, cluster: cluster213, instances };
}

export const TEMPLATES = [
  "diskless",
  "plain",
  "drbd",
  "file",
  "sharedfile",
  "blockdev",
  "ext",
  "rbd",
  "gluster",
] as const;

function cluster(): Json {
  return {
    ...stamps(148),
    uuid: uuidOf("cluster", 1),
    rsahostkeypub: "AAAA",
    cluster_name: "cluster.example.com",
    highest_used_port: 11_007,
    tcpudp_port_pool: [11_003, 11_005],
    mac_prefix: "AA:00:01",
    volume_group_name: "xenvg",
    reserved_lvs: ["root", "swap"],
    drbd_usermode_helper: "/bin/true",
    master_node: NODES[0],
    master_ip: "198.51.100.1",
    master_netdev: "eth0",
    master_netmask: 24,
    use_external_mip_script: false,
    file_storage_dir: "/srv/ganeti/file-storage",
    shared_file_storage_dir: "/srv/ganeti/shared-file-storage",
    gluster_storage_dir: "/var/run/ganeti/gluster",
    enabled_hypervisors: ["kvm", "xen-pvm"],
    hvparams: {
      kvm: { kernel_path: "", vhost_net: true, disk_cache: "none", migration_bandwidth: 100 },
      "xen-pvm": { xen_cmd: "xl", kernel_path: "/boot/vmlinuz-3-xenU" },
      lxc: { a_parameter_that_went: 1, num_ttys: 6 },
    },
    os_hvp: { debootstrap: { kvm: { vga: "std" } } },
    beparams: {
      default: { minmem: 256, maxmem: 512, vcpus: 2, auto_balance: true, always_failover: false, spindle_use: 1 },
    },
    osparams: { debootstrap: { mirror: "http://deb.example.com" } },
    osparams_private_cluster: { debootstrap: { rootpw: "hunter2" } },
    nicparams: { default: { mode: "bridged", link: "br0", vlan: "" } },
    ndparams: {
      oob_program: "/bin/oob",
      spindle_count: 2,
      exclusive_storage: false,
      ovs: false,
      ovs_name: "switch1",
      ovs_link: "",
      ssh_port: 22,
      cpu_speed: 1.5,
    },
    diskparams: { drbd: { metavg: "metavg", "resync-rate": 61_440 }, plain: { stripes: 2 } },
    candidate_pool_size: 7,
    modify_etc_hosts: true,
    modify_ssh_setup: false,
    maintain_node_health: true,
    uid_pool: [
      [4000, 4019],
      [5000, 5000],
    ],
    default_iallocator: "hail",
    default_iallocator_params: { flags: "--no-capacity-checks" },
    hidden_os: ["old"],
    blacklisted_os: ["bad"],
    primary_ip_family: 2,
    prealloc_wipe_disks: true,
    ipolicy: {
      minmax: [
        {
          min: { "memory-size": 64, "cpu-count": 1, "disk-count": 0, "disk-size": 1, "nic-count": 0, "spindle-use": 1 },
          max: {
            "memory-size": 65_536,
            "cpu-count": 32,
            "disk-count": 16,
            "disk-size": 4_194_304,
            "nic-count": 8,
            "spindle-use": 12,
          },
        },
      ],
      std: {
        "memory-size": 512,
        "cpu-count": 1,
        "disk-count": 1,
        "disk-size": 10_240,
        "nic-count": 1,
        "spindle-use": 1,
      },
      "disk-templates": [...TEMPLATES],
      "vcpu-ratio": 8.0,
      "spindle-ratio": 32.0,
    },
    hv_state_static: { kvm: { mem_node: 1024 } },
    disk_state_static: { plain: { xenvg: { disk_reserved: 2048 } } },
    enabled_disk_templates: [...TEMPLATES],
    candidate_certs: { [String(NODES[0])]: "0F:8D" },
    max_running_jobs: 30,
    max_tracked_jobs: 40,
    install_image: "/srv/install.img",
    instance_communication_network: "",
    zeroing_image: "",
    compression_tools: ["gzip", "lzop"],
    enabled_user_shutdown: true,
    data_collectors: { drbd: { active: false, interval: 5_000_000.0 } },
    ssh_key_type: "ecdsa",
    ssh_key_bits: 521,
    tags: ["site:a", "prod"],
  };
}

function node(n: number): Json {
  return {
    ...stamps(n),
    uuid: uuidOf("node", n),
    name: `node${n}.example.com`,
    primary_ip: `198.51.100.1${n}`,
    secondary_ip: `203.0.113.1${n}`,
    master_candidate: n !== 3,
    offline: false,
    drained: n === 3,
    group: uuidOf("group", n === 3 ? 2 : 1),
    master_capable: true,
    vm_capable: true,
    ndparams: n === 2 ? { ssh_port: 2222 } : {},
    powered: true,
    tags: n === 1 ? ["first"] : [],
  };
}

function group(n: number, name: string): Json {
  return {
    ...stamps(n),
    uuid: uuidOf("group", n),
    name,
    members: [],
    ndparams: {},
    alloc_policy: "preferred",
    ipolicy: {},
    diskparams: {},
    networks: {},
    tags: [],
  };
}

function instance(n: number, template: (typeof TEMPLATES)[number]): Json {
  return {
    ...stamps(n),
    uuid: uuidOf("instance", n),
    name: `${template}.example.com`,
    primary_node: NODES[0],
    os: "debootstrap+bookworm",
    hypervisor: "kvm",
    hvparams: n === 1 ? { kernel_path: "/boot/vmlinuz", root_path: "/dev/vda1" } : {},
    beparams: n === 1 ? { memory: 1024 } : { vcpus: n },
    osparams: { dhcp: "yes" },
    osparams_private: { key: "secret" },
    admin_state: n === 2 ? "down" : "up",
    admin_state_source: "admin",
    nics: [
      { uuid: uuidOf("nic", n), mac: `aa:00:01:00:00:0${n}`, ip: null, nicparams: {} },
      ...(n === 1
        ? [
            {
              uuid: uuidOf("nic", 99),
              name: "front",
              mac: "aa:00:07:00:00:01",
              ip: "192.0.2.2",
              network: uuidOf("network", 1),
              nicparams: { vlan: ".7" },
            },
          ]
        : []),
    ],
    disks: template === "diskless" ? [] : [uuidOf("disk", n)],
    disks_active: n !== 2,
    network_port: 11_000 + n * 2,
    tags: ["service:web"],
  };
}

function disk(n: number, template: Exclude<(typeof TEMPLATES)[number], "diskless">): Json {
  const logicalIds: Readonly<Record<typeof template, readonly unknown[]>> = {
    plain: ["xenvg", `${n}.disk0`],
    drbd: [NODES[1], NODES[0], 11_001, 4, 0, "c0ffee"],
    file: ["loop", `/srv/ganeti/file-storage/${n}.file.disk0`],
    sharedfile: ["loop", `/srv/ganeti/shared-file-storage/${n}.disk0`],
    blockdev: ["manual", "/dev/disk/by-id/x"],
    ext: ["provider1", `${n}.ext.disk0`],
    rbd: ["rbd", `${n}.rbd.disk0`],
    gluster: ["loop", `ganeti/${uuidOf("instance", n)}.0`],
  };
  const child = (part: string, size: number, index: number) => ({
    ...stamps(1),
    uuid: uuidOf("disk", n * 100 + index),
    dev_type: "plain",
    logical_id: ["xenvg", `${n}.disk0_${part}`],
    children: [],
    iv_name: "",
    size,
    mode: "rw",
    params: {},
  });
  return {
    ...stamps(n),
    uuid: uuidOf("disk", n),
    dev_type: template,
    logical_id: logicalIds[template],
    children: template === "drbd" ? [child("data", 10_240, 1), child("meta", 128, 2)] : [],
    nodes: [NODES[0]],
    iv_name: "disk/0",
    size: 10_240,
    mode: n === 4 ? "ro" : "rw",
    ...(n === 2 ? { name: "system", spindles: 3 } : {}),
    params: template === "ext" ? { provider: "provider1", pool: "fast" } : {},
  };
}

/** Words that mean something to the fuzzed cluster, by the name of the parameter that holds them; and hostile ones. */
import { QUERY_RESOURCES } from "@gannet/opcodes";
import { uuidOf } from "../rapi/cluster-fixture.ts";

export const INSTANCES = ["web1.gnt.test", "web2.gnt.test", "web3.gnt.test", "web4.gnt.test"] as const;
const NODE_NAMES = ["node1.gnt.test", "node2.gnt.test", "node3.gnt.test"] as const;

const instances = [...INSTANCES, "web1", "web2", "new1.gnt.test", "new2.gnt.test", "ghost.gnt.test"];
const nodes = [...NODE_NAMES, ...NODE_NAMES, "node1", "node2", "node9.gnt.test"];
const groups = ["default", "default", "other", "third", "nowhere", uuidOf("default")];
const networks = ["net1", "net2", "net3"];
const addresses = [
  "192.0.2.7",
  "192.0.2.1",
  "192.0.2.255",
  "10.0.0.9",
  "2001:db8::7",
  "none",
  "pool",
  "::1",
  "0.0.0.0",
];
const texts = [
  "x",
  "default",
  "none",
  "auto",
  "128",
  "1g",
  "a=b",
  "inst 1",
  "ä😀",
  "/srv/ganeti/file-storage/x",
  "xenvg",
];
const sizes = [1024, 1024, 2048, "1g", "1.5g", 1, 128, "128", "1t", 0, 2 ** 40];

/** The first that matches a parameter's name says what its text may be. */
const BY_NAME: readonly (readonly [name: RegExp, words: readonly unknown[]])[] = [
  [/^(instances?|instance_name|source_instance_name)$/, instances],
  [/^(nodes?|node_names?|node_name|pnode|snode|remote_node|target_node|src_node|on_nodes|master_candidate)$/, nodes],
  [/^(group_name|node_group|group|target_groups)$/, groups],
  [/^network_name$/, networks],
  [/uuid/, [...NODE_NAMES, "default"].map((name) => uuidOf(name))],
  [/^(new_name|name|names)$/, [...instances, ...nodes, ...groups, ...networks]],
  [/^network$/, ["192.0.2.0/24", "10.0.0.0/29", "192.0.2.5/24", "0.0.0.0/0", "10.0.0.0/32", ...networks]],
  [/^network6$/, ["2001:db8::/64", "::/0"]],
  [/^(ip|gateway|gateway6|primary_ip|secondary_ip|add_reserved_ips|remove_reserved_ips)$/, addresses],
  [/^mac(_prefix)?$/, ["aa:00:01", "aa:00:00:11:22:33", "ff:ff:ff:ff:ff:ff", "generate", "auto"]],
  [/^(os_type|os_name|os|os_hvp|blacklisted_os|hidden_os)$/, ["noop", "debian+bookworm", "debian", "broken", "none"]],
  [/^(iallocator|default_iallocator)$/, [".", "hail", "other"]],
  [/^(tags?|pattern)$/, ["blue", "zone:a", "exclusion:web", "x".repeat(129), "a b", ".*", "(", "(a+)+$"]],
  [/^(size|amount|runtime_mem|memory|maxmem|minmem|spindle_use|vcpus)$/, sizes],
  [/^(vg|metavg|vg_name)$/, ["xenvg", "fast", "slow"]],
  [/^(fields|output_fields|what)$/, ["name", "status", "uuid", "id", "nosuch", "oper_ram", "disk.size/0", "nic.mac/9"]],
  [/^(qfilter|filter)$/, ["=", "&", "|", "!", "?", "name", "web1.gnt.test", "=[]", "=~", "(", "status", "contains"]],
  [/^(resource|what)$/, [...QUERY_RESOURCES, "nosuch"]],
  [/^filter_uuid$/, [uuidOf("filter one"), uuidOf("filter two"), "nosuch"]],
  [/^job_id$/, ["1", "2", "5", "20", "60", "0", "99999", "99999999999999999999"]],
  [/^disk_index$/, ["0", "1", "2", "15", "16", "999999999"]],
  [/^mode$/, ["bridged", "routed", "openvswitch", "rw", "ro", "create", "live"]],
  [/^link$|bridge|netdev/, ["br0", "xen-br0", "eth0"]],
  [/^vlan$/, ["", ".7", ":1:2"]],
  [/_dir$|_path$|^path$/, ["/srv/ganeti/file-storage", "/srv/ganeti/file-storage/web", "/etc", "relative"]],
];

/** What text of a parameter of this name may be; not all of it is text. */
export function wordsFor(name: string): readonly unknown[] {
  const [, words] = BY_NAME.find(([pattern]) => pattern.test(name)) ?? [name, texts];
  return words;
}

/** Keys of objects without a fixed shape, by the parameter that they stand in. */
const KEYS: readonly (readonly [name: RegExp, keys: readonly string[]])[] = [
  [/hvparams|hvp/, ["kernel_path", "boot_order", "acpi", "cpu_mask", "kvm_path", "vnc_bind_address", "serial_console"]],
  [/beparams/, ["memory", "maxmem", "minmem", "vcpus", "auto_balance", "always_failover", "spindle_use"]],
  [/ndparams/, ["oob_program", "spindle_count", "exclusive_storage", "ovs", "ssh_port", "cpu_speed"]],
  [/ipolicy/, ["minmax", "std", "disk-templates", "vcpu-ratio", "spindle-ratio", "memory-ratio"]],
  [/diskparams/, ["metavg", "resync-rate", "stripes", "protocol", "access", "disk-barriers"]],
  [/hv_state/, ["fake", "kvm", "xen-pvm"]],
  [/disk_state/, ["plain", "drbd", "file"]],
  [/nicparams/, ["mode", "link", "vlan"]],
];

export function keysFor(name: string): readonly string[] {
  const [, keys] = KEYS.find(([pattern]) => pattern.test(name)) ?? [name, ["a", "mirror", "x-y"]];
  return keys;
}

/** Deep enough to break what walks it recursively without a bound, and small enough for a body. */
const DEEP = 2_000;

function deep(depth: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

export const HOSTILE: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1.5, 1e308, -1e308, 2 ** 53, -(2 ** 53), 2 ** 31, 1e-300],
  ...[
    "",
    " ",
    "a\u0000b",
    "\u0000",
    "\ud800",
    "\udfff\ud800",
    "\u202e",
    "\r\nX: y",
    "x".repeat(300),
    "y".repeat(70_000),
  ],
  ...["../../etc/passwd", "/", "-rf", "--help", "$(id)", "`id`", "%s%n", "'; DROP", "*", "__proto__", "constructor"],
  ...["1e400", "Infinity", "0x10", "١٢", "9".repeat(400)],
  ...[[], {}, [[]], [null], [[], {}], { a: null }, Array.from({ length: 3000 }, () => 0), deep(20), deep(DEEP)],
  ...[JSON.parse('{"__proto__":{"polluted":true}}'), { constructor: { prototype: { polluted: true } } }],
  ...[{ toString: 1, valueOf: 1 }, JSON.parse('{"then":1}'), { length: -1 }, JSON.parse('{"hasOwnProperty":1}')],
];

/** Keys that no declaration has. */
export const FOREIGN_KEYS = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "nosuch",
  "OP_ID",
  "reason",
  "dry_run",
  "",
];

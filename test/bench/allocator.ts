/** The built-in allocator in a large cluster, in this process: nothing of it waits for anything. */
import {
  type AllocatorCluster,
  type AllocatorInput,
  type AllocatorInstance,
  type AllocatorNode,
  balancePlan,
  solve,
} from "@gannet/allocator";
import { DEFAULT_POLICY } from "@gannet/objects";
import { median, print } from "./figures.ts";

const NODES = 200;
const INSTANCES = 5_000;
const ROUNDS = 9;
const GROUP = "00000000-0000-4000-8000-000000000001";
const GIB = 1_024;

export function benchAllocator(): void {
  const cluster = largeCluster();
  const input: AllocatorInput = { ...cluster, request: NEW_INSTANCE };
  const times = Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    const { success, info } = solve(input);
    if (!success) throw new Error(info);
    return performance.now() - start;
  });
  print({
    name: `allocate a drbd instance among ${NODES} nodes with ${INSTANCES} instances, median`,
    value: median(times),
    unit: "ms",
    goal: "value <= 200",
  });
  const start = performance.now();
  const [plan] = balancePlan(cluster);
  if (plan === undefined || plan.moves.length === 0) throw new Error("nothing was balanced");
  print({
    name: `balance plan of ${plan.moves.length} moves, score ${plan.scoreBefore.toFixed(3)} to ${plan.scoreAfter.toFixed(3)}`,
    value: (performance.now() - start) / 1_000,
    unit: "s",
    goal: "value <= 10",
  });
}

const NEW_INSTANCE: AllocatorInput["request"] = {
  type: "allocate",
  name: "new.gannet.test",
  disk_template: "drbd",
  group_name: null,
  tags: [],
  os: "noop",
  vcpus: 2,
  memory: 4 * GIB,
  spindle_use: 1,
  disks: [{ size: 20 * GIB, mode: "rw" }],
  disk_space_total: 20 * GIB + 128,
  nics: [{ mac: "aa:00:00:00:00:01", ip: null, mode: "bridged", link: "br0" }],
  required_nodes: 2,
  hypervisor: "fake",
};

/** Instances of several sizes, spread unevenly but always alike. */
function largeCluster(): AllocatorCluster {
  const random = randomNumbers(1);
  const instances = Array.from({ length: INSTANCES }, (_, index): [string, AllocatorInstance] => {
    const primary = Math.floor(random() ** 1.3 * NODES);
    const secondary = (primary + 1 + Math.floor(random() * (NODES - 1))) % NODES;
    const memory = (1 + Math.floor(random() * 4)) * 2 * GIB;
    const size = (1 + Math.floor(random() * 8)) * 10 * GIB;
    return [
      `instance${index}.gannet.test`,
      {
        tags: [],
        admin_state: "up",
        vcpus: 1 + Math.floor(random() * 4),
        memory,
        spindle_use: 1,
        os: "noop",
        nodes: [nodeName(primary), nodeName(secondary)],
        nics: [],
        disks: [{ type: "drbd", size, mode: "rw" }],
        disk_template: "drbd",
        disks_active: true,
        hypervisor: "fake",
        disk_space_total: size + 128,
      },
    ];
  });
  const used = new Map<string, { memory: number; disk: number }>();
  for (const [, { nodes, memory, disk_space_total }] of instances)
    for (const [role, node] of nodes.entries()) {
      const before = used.get(node) ?? { memory: 0, disk: 0 };
      used.set(node, { memory: before.memory + (role === 0 ? memory : 0), disk: before.disk + disk_space_total });
    }
  const ipolicy = { ...DEFAULT_POLICY, "vcpu-ratio": 8, "spindle-ratio": 200 };
  return {
    version: 2,
    cluster_name: "cluster.gannet.test",
    cluster_tags: [],
    enabled_hypervisors: ["fake"],
    ipolicy,
    nodegroups: { [GROUP]: { name: "default", alloc_policy: "preferred", networks: [], ipolicy, tags: [] } },
    nodes: Object.fromEntries(
      Array.from({ length: NODES }, (_, index) => [nodeName(index), nodeOf(used.get(nodeName(index)))]),
    ),
    instances: Object.fromEntries(instances),
  };
}

function nodeName(index: number): string {
  return `node${String(index).padStart(3, "0")}.gannet.test`;
}

function nodeOf(used = { memory: 0, disk: 0 }): AllocatorNode {
  return {
    tags: [],
    primary_ip: "192.0.2.1",
    secondary_ip: "192.0.2.1",
    offline: false,
    drained: false,
    master_candidate: false,
    group: GROUP,
    master_capable: true,
    vm_capable: true,
    ndparams: {},
    total_memory: 512 * GIB,
    reserved_memory: GIB,
    free_memory: 511 * GIB - used.memory,
    total_disk: 8_192 * GIB,
    free_disk: 8_192 * GIB - used.disk,
    total_spindles: 0,
    free_spindles: 0,
    total_cpus: 64,
    reserved_cpus: 1,
    i_pri_memory: used.memory,
    i_pri_up_memory: used.memory,
  };
}

/** Park and Miller's generator: the same numbers in every run, from 0 to 1. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

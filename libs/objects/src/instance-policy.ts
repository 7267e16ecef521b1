/** Instance policies: whether an instance's sizes are within bounds, and whether a policy makes sense. */
import type { InstancePolicy, InstanceSpec } from "./model.ts";
import type { DiskTemplate } from "./names.ts";

/** spec/config.json, `ipolicy.defaults`. */
export const DEFAULT_POLICY: InstancePolicy = {
  minmax: [
    {
      min: { "cpu-count": 1, "disk-count": 1, "disk-size": 1024, "memory-size": 128, "nic-count": 1, "spindle-use": 1 },
      max: {
        "cpu-count": 8,
        "disk-count": 16,
        "disk-size": 1_048_576,
        "memory-size": 32_768,
        "nic-count": 8,
        "spindle-use": 12,
      },
    },
  ],
  std: { "cpu-count": 1, "disk-count": 1, "disk-size": 1024, "memory-size": 128, "nic-count": 1, "spindle-use": 1 },
  "disk-templates": ["blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile"],
  "vcpu-ratio": 4,
  "spindle-ratio": 32,
};

/** What an instance would take of the cluster. */
export interface InstanceUse {
  /** `maxmem`. */
  readonly memoryMib: number;
  readonly vcpus: number;
  readonly diskSizesMib: readonly number[];
  readonly nicCount: number;
  readonly spindleUse: number;
  readonly diskTemplate: DiskTemplate;
}

type SpecKey = keyof InstanceSpec;
interface Measure {
  readonly key: SpecKey;
  /** `disk-size/1` for the second disk, else the key. */
  readonly name: string;
  readonly value: number;
}

/**
 * All ways in which an instance breaks a policy, one readable line each:
 * `memory-size value 65536 is not in range [128, 32768]`. Where the policy has several bounds, an instance
 * within any of them is fine, and otherwise the lines are those of the bounds it breaks least.
 */
export function policyViolations(policy: InstancePolicy, use: InstanceUse): readonly string[] {
  const measures = measuresOf(use);
  const ofBounds = policy.minmax.map(({ min, max }) => measures.flatMap((measure) => outOfRange(measure, min, max)));
  const fewest = ofBounds.reduce((best, lines) => (lines.length < best.length ? lines : best), ofBounds[0] ?? []);
  return policy["disk-templates"].includes(use.diskTemplate)
    ? fewest
    : [`disk template ${use.diskTemplate} is not among the allowed: ${policy["disk-templates"].join(", ")}`, ...fewest];
}

function measuresOf(use: InstanceUse): readonly Measure[] {
  return [
    measure("memory-size", use.memoryMib),
    measure("cpu-count", use.vcpus),
    // The least number of disks says nothing about instances that have none by their template.
    ...(use.diskTemplate === "diskless" ? [] : [measure("disk-count", use.diskSizesMib.length)]),
    measure("nic-count", use.nicCount),
    measure("spindle-use", use.spindleUse),
    ...use.diskSizesMib.map((value, index) => ({ key: "disk-size" as const, name: `disk-size/${index}`, value })),
  ];
}

function measure(key: SpecKey, value: number): Measure {
  return { key, name: key, value };
}

function outOfRange({ key, name, value }: Measure, min: InstanceSpec, max: InstanceSpec): readonly string[] {
  if (value >= min[key] && value <= max[key]) return [];
  return [`${name} value ${value} is not in range [${min[key]}, ${max[key]}]`];
}

/** What is wrong with a complete policy, one readable line each (spec/config.json, `ipolicy.rules`). */
export function policyProblems(policy: InstancePolicy): readonly string[] {
  const bounds = policy.minmax.flatMap(({ min, max }, index) =>
    specKeys(min).flatMap((key) =>
      min[key] > max[key] ? [`minmax/${index}: ${key} minimum ${min[key]} is above the maximum ${max[key]}`] : [],
    ),
  );
  const standardFits = policy.minmax.some(({ min, max }) =>
    specKeys(policy.std).every((key) => policy.std[key] >= min[key] && policy.std[key] <= max[key]),
  );
  return [
    ...(policy.minmax.length === 0 ? ["minmax is empty: give at least one pair of bounds"] : bounds),
    ...(policy.minmax.length === 0 || standardFits ? [] : ["std is outside all bounds of minmax"]),
    ...(policy["disk-templates"].length === 0 ? ["disk-templates is empty: nothing could be created"] : []),
    ...(["vcpu-ratio", "spindle-ratio"] as const).flatMap((key) => (policy[key] > 0 ? [] : [`${key} must be above 0`])),
  ];
}

function specKeys(spec: InstanceSpec): readonly SpecKey[] {
  return Object.keys(spec) as SpecKey[];
}

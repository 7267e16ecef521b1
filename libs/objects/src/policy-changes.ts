/**
 * Changes of instance policies as clients send them (spec/config.json, `ipolicy`): the cluster's is complete, a
 * group's holds what differs from it.
 */
import { OpPrereqError } from "@gannet/errors";
import { z } from "zod";
import { filledPolicy } from "./filling.ts";
import { policyProblems } from "./instance-policy.ts";
import { type InstancePolicy, instanceSpec, type NodeGroup } from "./model.ts";
import { DISK_TEMPLATES } from "./names.ts";
import { INHERIT, refuseProblems } from "./parameter-table.ts";
import { parseSizeMib } from "./size.ts";

const SIZES: ReadonlySet<string> = new Set(["disk-size", "memory-size"]);

/** Whole numbers, or text that is one; of the two sizes also text with a unit. */
const spec = z.preprocess(
  (given) =>
    isObject(given)
      ? Object.fromEntries(Object.entries(given).map(([key, value]) => [key, specValue(key, value)]))
      : given,
  z.strictObject(instanceSpec.shape).refine((values) => Object.values(values).every((value) => value >= 0), {
    error: "holds a number below zero",
  }),
);
const minmax = z.array(z.strictObject({ min: spec, max: spec }));
const diskTemplates = z.array(z.enum(DISK_TEMPLATES)).transform((templates) => [...new Set(templates)].sort());
const ratio = z.preprocess(
  (given) => (typeof given === "string" && /^\d{1,9}(\.\d{1,9})?$/.test(given) ? Number(given) : given),
  z.number({ error: "must be a number" }),
);

const PARTS = {
  "disk-templates": diskTemplates,
  minmax,
  "spindle-ratio": ratio,
  std: spec,
  "vcpu-ratio": ratio,
} as const satisfies Record<keyof InstancePolicy, z.ZodType>;
type PolicyKey = keyof typeof PARTS;

/**
 * The cluster's policy after a change. Bounds are replaced as a whole, single standard sizes are merged.
 * @throws OpPrereqError `wrong_input` that lists every problem of the change and of the policy it would make
 */
export function changedClusterPolicy(
  current: InstancePolicy,
  changes: Readonly<Record<string, unknown>>,
): InstancePolicy {
  const withStd = isObject(changes.std) ? { ...changes, std: { ...current.std, ...changes.std } } : changes;
  const next = { ...current };
  const problems: string[] = [];
  for (const [key, value] of Object.entries(withStd)) {
    if (value === INHERIT || value === null) problems.push(`ipolicy: the cluster cannot be without ${key}`);
    else problems.push(...assignPart(next, key, value));
  }
  refuseProblems([...problems, ...(problems.length > 0 ? [] : policyProblems(next))]);
  return next;
}

/**
 * A group's own policy after a change; `"default"`, null or an empty list of bounds go back to the cluster's.
 * @param inherited - the cluster's
 * @throws OpPrereqError `wrong_input` that lists every problem of the change and of the policy it would make
 */
export function changedGroupPolicy(
  current: NodeGroup["ipolicy"],
  changes: Readonly<Record<string, unknown>>,
  inherited: InstancePolicy,
): NodeGroup["ipolicy"] {
  if (Object.hasOwn(changes, "std"))
    throw new OpPrereqError("ipolicy: std is the cluster's alone; a group inherits it", "wrong_input");
  const next: NodeGroup["ipolicy"] = { ...current };
  const problems: string[] = [];
  for (const [key, value] of Object.entries(changes)) {
    const isUnset = value === INHERIT || value === null || (Array.isArray(value) && value.length === 0);
    if (isUnset && Object.hasOwn(PARTS, key)) delete next[key as PolicyKey];
    else problems.push(...assignPart(next, key, value));
  }
  if (problems.length === 0)
    problems.push(...groupPolicyProblems(filledPolicy({ ipolicy: inherited }, { ipolicy: next })));
  refuseProblems(problems);
  return next;
}

/** Whether the standard sizes are within bounds is asked of the cluster's policy only. */
function groupPolicyProblems(policy: InstancePolicy): readonly string[] {
  return policyProblems({ ...policy, std: policy.minmax[0]?.min ?? policy.std });
}

function assignPart(policy: Partial<Record<PolicyKey, unknown>>, key: string, value: unknown): readonly string[] {
  if (!Object.hasOwn(PARTS, key)) return [`ipolicy: unknown key '${key}'; there are ${Object.keys(PARTS).join(", ")}`];
  const parsed = PARTS[key as PolicyKey].safeParse(value);
  if (!parsed.success)
    return parsed.error.issues.map(({ path, message }) => `ipolicy: ${[key, ...path].join("/")}: ${message}`);
  policy[key as PolicyKey] = parsed.data;
  return [];
}

function specValue(key: string, value: unknown): unknown {
  if (SIZES.has(key)) return parseSizeMib(value) ?? value;
  return typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Instance policies, of the cluster and of groups. */
import {
  DEFAULT_POLICY,
  DISK_TEMPLATES,
  type DiskTemplate,
  type InstancePolicy,
  type InstanceSpec,
} from "@gannet/objects";
import { type Findings, NotTranslatable, type Path, shown } from "./findings.ts";
import { type Json, JsonObject } from "./json-object.ts";

/** The cluster's: complete, with Ganeti's defaults where the file says nothing. */
export function translatePolicy(findings: Findings, path: Path, values: Json): InstancePolicy {
  return { ...DEFAULT_POLICY, ...partOfPolicy(findings, path, values, DEFAULT_POLICY) };
}

/** A group's: only what it sets. It has no standard sizes of its own. */
export function translateGroupPolicy(
  findings: Findings,
  path: Path,
  { std: _, ...values }: Json,
  cluster: InstancePolicy,
): Partial<InstancePolicy> {
  return partOfPolicy(findings, path, values, cluster);
}

function partOfPolicy(
  findings: Findings,
  path: Path,
  values: Json,
  inherited: InstancePolicy,
): Partial<InstancePolicy> {
  const policy = new JsonObject(path, values);
  const bounds = inherited.minmax[0] ?? { min: DEFAULT_POLICY.std, max: DEFAULT_POLICY.std };
  const part = <K extends keyof InstancePolicy>(key: K, read: () => InstancePolicy[K]): Partial<InstancePolicy> => {
    if (policy.raw(key) == null) return {};
    const value = findings.attempt("this part of the policy: what is above it takes its place", policy.at(key), read);
    return value === undefined ? {} : { [key]: value };
  };
  const result = {
    ...part("minmax", () =>
      policy.list("minmax").map((pair, index) => {
        const object = new JsonObject([...policy.at("minmax"), index], pair);
        return {
          min: translateSpec(object.at("min"), object.raw("min"), bounds.min),
          max: translateSpec(object.at("max"), object.raw("max"), bounds.max),
        };
      }),
    ),
    ...part("std", () => translateSpec(policy.at("std"), policy.raw("std"), inherited.std)),
    ...part("disk-templates", () => translateTemplates(findings, policy.at("disk-templates"), policy)),
    ...part("vcpu-ratio", () => policy.number("vcpu-ratio")),
    ...part("spindle-ratio", () => policy.number("spindle-ratio")),
  };
  for (const unknown of policy.unread) findings.problem(policy.at(unknown), "is no part of a policy", "this part");
  return result;
}

function translateSpec(path: Path, value: unknown, absent: InstanceSpec): InstanceSpec {
  const spec = new JsonObject(path, value ?? {});
  const size = (key: keyof InstanceSpec) => spec.int(key, absent[key]);
  const sizes: InstanceSpec = {
    "cpu-count": size("cpu-count"),
    "disk-count": size("disk-count"),
    "disk-size": size("disk-size"),
    "memory-size": size("memory-size"),
    "nic-count": size("nic-count"),
    "spindle-use": size("spindle-use"),
  };
  const [unknown] = spec.unread;
  if (unknown !== undefined) throw new NotTranslatable(spec.at(unknown), "is no size that a policy bounds");
  return sizes;
}

function translateTemplates(findings: Findings, path: Path, policy: JsonObject): DiskTemplate[] {
  return translateNames(findings, path, policy.list("disk-templates"), DISK_TEMPLATES, "disk template");
}

/** Those of a list that are known; each of the others is a problem of its own. */
export function translateNames<const Names extends readonly string[]>(
  findings: Findings,
  path: Path,
  values: readonly unknown[],
  names: Names,
  what: string,
): Names[number][] {
  return values.flatMap((value, index) => {
    const known = names.find((name) => name === value);
    if (known !== undefined) return [known];
    findings.problem([...path, index], `${shown(value)} is no ${what} that Gannet has`, `this ${what}`);
    return [];
  });
}

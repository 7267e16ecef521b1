/** Parameters of one level: each by its table, or left out one by one. */
import {
  BACKEND_PARAMETERS,
  DISK_PARAMETERS,
  DISK_STATE,
  DISK_TEMPLATES,
  type DiskTemplate,
  enforceTypes,
  HYPERVISOR_PARAMETERS,
  HYPERVISOR_STATE,
  HYPERVISORS,
  type HypervisorName,
  type Parameters,
  type ParameterTable,
  type ParameterValue,
  parameterProblems,
} from "@gannet/objects";
import { asNotTranslatable, type Findings, type Path, shown } from "./findings.ts";
import { isObject, type Json, type JsonObject } from "./json-object.ts";

/**
 * Values of parameters that some version of Ganeti has and that are not taken over, with the reason that operators are
 * told; the default takes their place.
 */
const RETIRED: readonly { readonly name: string; readonly value: unknown; readonly reason: string }[] = [
  {
    name: "xen_cmd",
    value: "xm",
    reason: "becomes xl: Xen has had no xm since 4.5; set it to xm once all nodes are known to have that",
  },
  { name: "disk_discard", value: "default", reason: "was Ganeti 3.0's word for ignore, which is the default" },
];

export interface ParameterLevel {
  /** Names the kind in messages: `kvm parameter`. */
  readonly what: string;
  readonly table: ParameterTable;
}

export const backendLevel: ParameterLevel = { what: "backend parameter", table: BACKEND_PARAMETERS };

export function hypervisorLevel(hypervisor: HypervisorName): ParameterLevel {
  return { what: `${hypervisor} parameter`, table: HYPERVISOR_PARAMETERS[hypervisor] };
}

/** The values that the table knows, with its types; each of the others is a problem of its own. */
export function translateParameters(
  findings: Findings,
  path: Path,
  values: Json,
  { what, table }: ParameterLevel,
): Parameters {
  const taken = Object.entries(values).flatMap(([name, value]): readonly (readonly [string, ParameterValue])[] => {
    const at = [...path, name];
    const retired = RETIRED.find((entry) => entry.name === name && entry.value === value);
    if (retired !== undefined) {
      findings.note(at, retired.reason);
      return [];
    }
    // Absent, as everywhere in the file, but where null is a value of its own.
    if (value === null && table[name]?.type !== "maybe-string") return [];
    const typed = findings.attempt("the parameter", at, () => enforceTypes(what, table, { [name]: value }));
    const own = typed?.[name];
    if (own === undefined) return [];
    const [problem] = parameterProblems(what, table, { [name]: own });
    if (problem === undefined) return [[name, own]];
    findings.problem(at, problem, "the parameter");
    return [];
  });
  return Object.fromEntries(taken);
}

/** `memory` is what minmem and maxmem were before Ganeti 2.6. */
export function translateBeparams(findings: Findings, path: Path, { memory, ...values }: Json): Parameters {
  const both = memory == null ? {} : { minmem: memory, maxmem: memory };
  return translateParameters(findings, path, { ...both, ...values }, backendLevel);
}

type ByHypervisor = Partial<Record<HypervisorName, Parameters>>;

/**
 * `{hypervisor: parameters}`. What is not known of a hypervisor that is not enabled is told, and is no problem: nothing
 * uses it.
 */
export function translateHvparams(
  findings: Findings,
  path: Path,
  values: Json,
  enabled: readonly HypervisorName[],
): ByHypervisor {
  const entries = Object.entries(values).flatMap(([name, own]): readonly (readonly [HypervisorName, Parameters])[] => {
    const hypervisor = HYPERVISORS.find((known) => known === name);
    const at = [...path, name];
    if (hypervisor === undefined || !isObject(own)) {
      const reason = hypervisor === undefined ? "is no hypervisor that Gannet has" : `is ${shown(own)}, not an object`;
      findings.problem(at, reason, "its parameters");
      return [];
    }
    if (enabled.includes(hypervisor))
      return [[hypervisor, translateParameters(findings, at, own, hypervisorLevel(hypervisor))]];
    const table = HYPERVISOR_PARAMETERS[hypervisor];
    const known = Object.entries(own).filter(([parameter]) => Object.hasOwn(table, parameter));
    for (const parameter of Object.keys(own).filter((key) => !Object.hasOwn(table, key)))
      findings.note([...at, parameter], "is left out: it is not known, and its hypervisor is not enabled");
    return [[hypervisor, translateParameters(findings, at, Object.fromEntries(known), hypervisorLevel(hypervisor))]];
  });
  return Object.fromEntries(entries);
}

/** `{template: parameters}`, of the cluster or a group. */
export function translateDiskparams(
  findings: Findings,
  path: Path,
  values: Json,
): Partial<Record<DiskTemplate, Parameters>> {
  const entries = Object.entries(values).flatMap(([name, own]): readonly (readonly [DiskTemplate, Parameters])[] => {
    const template = DISK_TEMPLATES.find((known) => known === name);
    const at = [...path, name];
    if (template === undefined || !isObject(own)) {
      const reason = template === undefined ? "is no disk template that Gannet has" : `is ${shown(own)}, not an object`;
      findings.problem(at, reason, "its parameters");
      return [];
    }
    const level = { what: `parameter of disk template ${template}`, table: DISK_PARAMETERS[template] };
    return [[template, translateParameters(findings, at, own, level)]];
  });
  return Object.fromEntries(entries);
}

/** Parameters whose names the site has chosen: an OS definition's, an external storage provider's. */
export function freeParameters(findings: Findings, path: Path, values: Json): Parameters {
  const taken = Object.entries(values).flatMap(([name, value]): readonly (readonly [string, ParameterValue])[] => {
    if (value === null || ["string", "number", "boolean"].includes(typeof value))
      return [[name, value as ParameterValue]];
    findings.problem([...path, name], "is no text, number or boolean", "the parameter");
    return [];
  });
  return Object.fromEntries(taken);
}

/** `{os: parameters}`. */
export function translateOsparams(findings: Findings, path: Path, values: Json): Record<string, Parameters> {
  return perKey(findings, path, values, (at, own) => freeParameters(findings, at, own));
}

/** `{os: {hypervisor: parameters}}`. */
export function translateOsHvp(
  findings: Findings,
  path: Path,
  values: Json,
  enabled: readonly HypervisorName[],
): Record<string, ByHypervisor> {
  return perKey(findings, path, values, (at, own) => translateHvparams(findings, at, own, enabled));
}

/** `hv_state_static` and `disk_state_static`: `{hypervisor: values}`, `{storage: {unit: values}}`. */
export function translateStates(
  findings: Findings,
  object: JsonObject,
): { readonly hvState: Record<string, Parameters>; readonly diskState: Record<string, Record<string, Parameters>> } {
  const state = (what: string, table: ParameterTable) => (at: Path, own: Json) =>
    translateParameters(findings, at, own, { what, table });
  return {
    hvState: perKey(
      findings,
      object.at("hv_state_static"),
      object.table("hv_state_static"),
      state("hypervisor state", HYPERVISOR_STATE),
    ),
    diskState: perKey(findings, object.at("disk_state_static"), object.table("disk_state_static"), (at, units) =>
      perKey(findings, at, units, state("disk state", DISK_STATE)),
    ),
  };
}

function perKey<T>(
  findings: Findings,
  path: Path,
  values: Json,
  translate: (at: Path, own: Json) => T,
): Record<string, T> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([key, own]): readonly (readonly [string, T])[] => {
      const at = [...path, key];
      if (isObject(own)) return [[key, translate(at, own)]];
      findings.problem(at, `is ${shown(own)} where an object is expected`, "what stands there");
      return [];
    }),
  );
}

/** Only the field is left out when its value is refused. */
export function fieldOr<T>(findings: Findings, path: Path, absent: T, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const told = asNotTranslatable(path, error);
    findings.problem(told.path, told.message, "the value: the default takes its place");
    return absent;
  }
}

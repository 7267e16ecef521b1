/** What operators say of resources beside what nodes report (spec/config.json, `hv_state` and `disk_state`). */
import { OpPrereqError } from "@gannet/errors";
import type { Parameters } from "./model.ts";
import { HYPERVISORS, type HypervisorName, type StorageType } from "./names.ts";
import { enforceTypes, type ParameterTable, updateParameters } from "./parameter-table.ts";

const count = (value: number, doc: string) => ({ type: "int", default: value, min: 0, doc }) as const;

export const HYPERVISOR_STATE: ParameterTable = {
  cpu_node: count(1, "Processors that the node itself uses"),
  cpu_total: count(1, "Processors of the node"),
  mem_hv: count(0, "Memory that the hypervisor uses, in MiB"),
  mem_node: count(0, "Memory that the node itself uses, in MiB"),
  mem_total: count(0, "Memory of the node, in MiB"),
};

export const DISK_STATE: ParameterTable = {
  disk_overhead: count(0, "Space lost to each disk, in MiB"),
  disk_reserved: count(0, "Space that no disk gets, in MiB"),
  disk_total: count(0, "Space of the storage unit, in MiB"),
};

/** `plain` is what Ganeti calls the storage of LVM here. */
const STORAGE_WITH_STATE: readonly (StorageType | "plain")[] = ["plain"];

type Nested = Readonly<Record<string, unknown>>;

/**
 * Of each hypervisor named, its values after a change; `"default"` drops one.
 * @throws OpPrereqError `wrong_input` on an unknown hypervisor, TypeEnforcementError on an unknown name or a wrong type
 */
export function changedHypervisorState(current: Nested, changes: Nested): Record<string, unknown> {
  const next: Record<string, unknown> = { ...current };
  for (const [hypervisor, values] of Object.entries(changes)) {
    if (!HYPERVISORS.includes(hypervisor as HypervisorName))
      throw new OpPrereqError(`hv_state: unknown hypervisor '${hypervisor}'`, "wrong_input");
    next[hypervisor] = changed(`hv_state of ${hypervisor}:`, HYPERVISOR_STATE, current[hypervisor], values);
  }
  return next;
}

/**
 * By storage type and name of the unit, its values after a change; `"default"` drops one.
 * @throws OpPrereqError `wrong_input` on a storage type without such values, TypeEnforcementError as above
 */
export function changedDiskState(current: Nested, changes: Nested): Record<string, unknown> {
  const next: Record<string, unknown> = { ...current };
  for (const [storage, units] of Object.entries(changes)) {
    if (!(STORAGE_WITH_STATE as readonly string[]).includes(storage))
      throw new OpPrereqError(
        `disk_state: storage '${storage}' has no state; there is ${STORAGE_WITH_STATE.join(", ")}`,
        "wrong_input",
      );
    const present = objectOf(`disk_state of ${storage}`, current[storage] ?? {});
    const merged: Record<string, unknown> = { ...present };
    for (const [unit, values] of Object.entries(objectOf(`disk_state of ${storage}`, units)))
      merged[unit] = changed(
        `disk_state of ${storage}/${unit}:`,
        DISK_STATE,
        Object.hasOwn(present, unit) ? present[unit] : {},
        values,
      );
    next[storage] = merged;
  }
  return next;
}

function changed(what: string, table: ParameterTable, current: unknown, changes: unknown): Parameters {
  const present = enforceTypes(what, table, objectOf(what, current ?? {}));
  return updateParameters(what, table, present, objectOf(what, changes));
}

function objectOf(what: string, value: unknown): Nested {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Nested;
  throw new OpPrereqError(`${what} must be an object`, "wrong_input");
}

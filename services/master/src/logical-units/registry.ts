/** Every logical unit, by the id of its opcode. An opcode that is not here is refused when it is submitted. */
import type { LogicalUnit } from "../executor/logical-unit.ts";
import { instanceCreate } from "./instance/create.ts";
import { instanceQueryData } from "./instance/query-data.ts";
import { instanceReboot } from "./instance/reboot.ts";
import { instanceRemove } from "./instance/remove.ts";
import { instanceShutdown } from "./instance/shutdown.ts";
import { instanceStartup } from "./instance/startup.ts";
import { osDiagnose } from "./os/diagnose.ts";
import { tagsDel } from "./tags/del.ts";
import { tagsGet } from "./tags/get.ts";
import { tagsSet } from "./tags/set.ts";
import { testDelay } from "./test/delay.ts";

const UNITS = [
  instanceCreate,
  instanceQueryData,
  instanceReboot,
  instanceRemove,
  instanceShutdown,
  instanceStartup,
  osDiagnose,
  tagsDel,
  tagsGet,
  tagsSet,
  testDelay,
];

/** @throws Error at start when two units claim one opcode: a defect of this program */
function registryOf(units: readonly LogicalUnit[]): ReadonlyMap<string, LogicalUnit> {
  const registry = new Map<string, LogicalUnit>();
  for (const unit of units) {
    if (registry.has(unit.opcode.id)) throw new Error(`two logical units perform ${unit.opcode.id}`);
    registry.set(unit.opcode.id, unit);
  }
  return registry;
}

export const LOGICAL_UNITS: ReadonlyMap<string, LogicalUnit> = registryOf(UNITS as unknown as readonly LogicalUnit[]);

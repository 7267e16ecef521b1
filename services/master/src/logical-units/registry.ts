/** Every logical unit, by the id of its opcode. An opcode that is not here is refused when it is submitted. */
import type { OpcodeInput } from "@gannet/job-ledger";
import { parseOpcode } from "@gannet/opcodes";
import type { LogicalUnit } from "../executor/logical-unit.ts";
import { backupExport } from "./backup/export.ts";
import { backupRemove } from "./backup/remove.ts";
import { instanceActivateDisks } from "./instance/activate-disks.ts";
import { instanceCreate } from "./instance/create.ts";
import { instanceDeactivateDisks } from "./instance/deactivate-disks.ts";
import { instanceFailover } from "./instance/failover.ts";
import { instanceGrowDisk } from "./instance/grow-disk.ts";
import { instanceMigrate } from "./instance/migrate.ts";
import { instanceQueryData } from "./instance/query-data.ts";
import { instanceReboot } from "./instance/reboot.ts";
import { instanceRecreateDisks } from "./instance/recreate-disks.ts";
import { instanceRemove } from "./instance/remove.ts";
import { instanceReplaceDisks } from "./instance/replace-disks.ts";
import { instanceSetParams } from "./instance/set-params.ts";
import { instanceShutdown } from "./instance/shutdown.ts";
import { instanceStartup } from "./instance/startup.ts";
import { nodeModifyStorage } from "./node/storage-modify.ts";
import { nodeQueryStorage } from "./node/storage-query.ts";
import { repairNodeStorage } from "./node/storage-repair.ts";
import { nodeQueryvols } from "./node/storage-volumes.ts";
import { osDiagnose } from "./os/diagnose.ts";
import { tagsDel } from "./tags/del.ts";
import { tagsGet } from "./tags/get.ts";
import { tagsSet } from "./tags/set.ts";
import { testDelay } from "./test/delay.ts";

const UNITS = [
  backupExport,
  backupRemove,
  instanceActivateDisks,
  instanceCreate,
  instanceDeactivateDisks,
  instanceGrowDisk,
  instanceFailover,
  instanceMigrate,
  instanceQueryData,
  instanceReboot,
  instanceRecreateDisks,
  instanceRemove,
  instanceReplaceDisks,
  instanceSetParams,
  instanceShutdown,
  instanceStartup,
  nodeModifyStorage,
  nodeQueryStorage,
  nodeQueryvols,
  osDiagnose,
  repairNodeStorage,
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

/** What of an opcode its logical unit cannot do yet, in words. @throws OpPrereqError when it is not valid */
export function unavailableIn(input: OpcodeInput): string | undefined {
  const unit = LOGICAL_UNITS.get(input.OP_ID);
  return unit?.unavailable?.(parseOpcode(input).op);
}

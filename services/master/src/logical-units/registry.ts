/** Every logical unit, by the id of its opcode. An opcode that is not here is refused when it is submitted. */
import type { OpcodeInput } from "@gannet/job-ledger";
import { parseOpcode } from "@gannet/opcodes";
import type { LogicalUnit } from "../executor/logical-unit.ts";
import { backupExport } from "./backup/export.ts";
import { backupPrepare } from "./backup/prepare.ts";
import { backupRemove } from "./backup/remove.ts";
import { clusterActivateMasterIp } from "./cluster/activate-master-ip.ts";
import { clusterConfigQuery } from "./cluster/config-query.ts";
import { clusterDeactivateMasterIp } from "./cluster/deactivate-master-ip.ts";
import { clusterDestroy } from "./cluster/destroy.ts";
import { clusterPostInit } from "./cluster/post-init.ts";
import { clusterQuery } from "./cluster/query.ts";
import { clusterRedistConf } from "./cluster/redist-conf.ts";
import { clusterRename } from "./cluster/rename.ts";
import { clusterRenewCrypto } from "./cluster/renew-crypto.ts";
import { clusterRepairDiskSizes } from "./cluster/repair-disk-sizes.ts";
import { clusterSetParams } from "./cluster/set-params.ts";
import { clusterVerify } from "./cluster/verify.ts";
import { clusterVerifyConfig } from "./cluster/verify-config.ts";
import { clusterVerifyDisks } from "./cluster/verify-disks.ts";
import { clusterVerifyGroup } from "./cluster/verify-group.ts";
import { extStorageDiagnose } from "./ext-storage/diagnose.ts";
import { groupAdd } from "./group/add.ts";
import { groupAssignNodes } from "./group/assign-nodes.ts";
import { groupEvacuate } from "./group/evacuate.ts";
import { groupRemove } from "./group/remove.ts";
import { groupRename } from "./group/rename.ts";
import { groupSetParams } from "./group/set-params.ts";
import { groupVerifyDisks } from "./group/verify-disks.ts";
import { instanceActivateDisks } from "./instance/activate-disks.ts";
import { instanceChangeGroup } from "./instance/change-group.ts";
import { instanceConsole } from "./instance/console.ts";
import { instanceCreate } from "./instance/create.ts";
import { instanceDeactivateDisks } from "./instance/deactivate-disks.ts";
import { instanceFailover } from "./instance/failover.ts";
import { instanceGrowDisk } from "./instance/grow-disk.ts";
import { instanceMigrate } from "./instance/migrate.ts";
import { instanceMove } from "./instance/move.ts";
import { instanceMultiAlloc } from "./instance/multi-alloc.ts";
import { instanceQueryData } from "./instance/query-data.ts";
import { instanceReboot } from "./instance/reboot.ts";
import { instanceRecreateDisks } from "./instance/recreate-disks.ts";
import { instanceReinstall } from "./instance/reinstall.ts";
import { instanceRemove } from "./instance/remove.ts";
import { instanceRename } from "./instance/rename.ts";
import { instanceReplaceDisks } from "./instance/replace-disks.ts";
import { instanceSetParams } from "./instance/set-params.ts";
import { instanceShutdown } from "./instance/shutdown.ts";
import { instanceStartup } from "./instance/startup.ts";
import { networkAdd } from "./network/add.ts";
import { networkConnect } from "./network/connect.ts";
import { networkDisconnect } from "./network/disconnect.ts";
import { networkRemove } from "./network/remove.ts";
import { networkRename } from "./network/rename.ts";
import { networkSetParams } from "./network/set-params.ts";
import { nodeAdd } from "./node/add.ts";
import { nodeEvacuate } from "./node/evacuate.ts";
import { nodeMigrate } from "./node/migrate.ts";
import { oobCommand } from "./node/oob-command.ts";
import { nodePowercycle } from "./node/powercycle.ts";
import { nodeQuiesce } from "./node/quiesce.ts";
import { nodeRemove } from "./node/remove.ts";
import { restrictedCommand } from "./node/restricted-command.ts";
import { nodeSetParams } from "./node/set-params.ts";
import { nodeModifyStorage } from "./node/storage-modify.ts";
import { nodeQueryStorage } from "./node/storage-query.ts";
import { repairNodeStorage } from "./node/storage-repair.ts";
import { nodeQueryvols } from "./node/storage-volumes.ts";
import { osDiagnose } from "./os/diagnose.ts";
import { query } from "./query/query.ts";
import { queryFields } from "./query/query-fields.ts";
import { tagsDel } from "./tags/del.ts";
import { tagsGet } from "./tags/get.ts";
import { tagsSearch } from "./tags/search.ts";
import { tagsSet } from "./tags/set.ts";
import { testAllocator } from "./test/allocator.ts";
import { testDelay } from "./test/delay.ts";
import { testJqueue } from "./test/jqueue.ts";
import { testOsParams } from "./test/os-params.ts";

const UNITS = [
  backupExport,
  backupPrepare,
  backupRemove,
  clusterActivateMasterIp,
  clusterConfigQuery,
  clusterDeactivateMasterIp,
  clusterDestroy,
  clusterPostInit,
  clusterQuery,
  clusterRedistConf,
  clusterRename,
  clusterRenewCrypto,
  clusterRepairDiskSizes,
  clusterSetParams,
  clusterVerify,
  clusterVerifyConfig,
  clusterVerifyDisks,
  clusterVerifyGroup,
  groupAdd,
  groupAssignNodes,
  groupEvacuate,
  groupRemove,
  groupRename,
  groupSetParams,
  groupVerifyDisks,
  extStorageDiagnose,
  instanceActivateDisks,
  instanceConsole,
  instanceChangeGroup,
  instanceCreate,
  instanceDeactivateDisks,
  instanceGrowDisk,
  instanceFailover,
  instanceMigrate,
  instanceMove,
  instanceMultiAlloc,
  instanceQueryData,
  instanceReboot,
  instanceRecreateDisks,
  instanceReinstall,
  instanceRemove,
  instanceRename,
  instanceReplaceDisks,
  instanceSetParams,
  instanceShutdown,
  instanceStartup,
  nodeAdd,
  nodeEvacuate,
  nodeMigrate,
  networkAdd,
  networkConnect,
  networkDisconnect,
  networkRemove,
  networkRename,
  networkSetParams,
  nodeModifyStorage,
  nodePowercycle,
  nodeQueryStorage,
  nodeQueryvols,
  nodeQuiesce,
  nodeRemove,
  nodeSetParams,
  oobCommand,
  osDiagnose,
  query,
  queryFields,
  repairNodeStorage,
  restrictedCommand,
  tagsDel,
  tagsGet,
  tagsSearch,
  tagsSet,
  testAllocator,
  testDelay,
  testJqueue,
  testOsParams,
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

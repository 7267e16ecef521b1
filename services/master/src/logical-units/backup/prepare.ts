import { BackupPrepare } from "@gannet/opcodes";
import { implement } from "../../executor/logical-unit.ts";
import { instanceLock } from "../instance/locks.ts";
import { knownInstance, onlinePrimary } from "../instance/lookups.ts";

/** An export inside the cluster needs nothing prepared: its nodes know each other by the cluster's certificates. */
export const backupPrepare = implement(BackupPrepare, {
  unavailable: (op) => (op.mode === "local" ? undefined : "an export to another cluster (mode remote)"),

  locks: (op, view) => [instanceLock(view, op.instance_name)],

  checkPrereq: (ctx, op) => onlinePrimary(ctx.config, knownInstance(ctx.config, op.instance_name)),

  exec: () => Promise.resolve(null),
});

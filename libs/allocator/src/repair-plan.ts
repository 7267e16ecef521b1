/**
 * What is to be done for instances whose nodes fail them, as far as their owners allow it by tags, as harep(1) does. A
 * tag `ganeti:watcher:autorepair:TYPE` of the instance, else of its group, else of the cluster, allows TYPE and what
 * destroys less; of several at one place the mildest counts. `ganeti:watcher:autorepair:suspend` forbids it for now,
 * with `:TIME` behind it (s since 1970) until then.
 */
import { DISK_TEMPLATE_TRAITS, type DiskTemplate } from "@gannet/objects";
import type { AllocatorCluster, AllocatorInstance, AllocatorOpcode } from "./protocol.ts";
import { compareNames } from "./refusals.ts";

/** From the mildest on. */
export const REPAIR_TYPES = ["fix-storage", "migrate", "failover", "reinstall"] as const;
export type RepairType = (typeof REPAIR_TYPES)[number];

export interface InstanceRepair {
  readonly instance: string;
  readonly type: RepairType;
  /** Why it is needed. */
  readonly reason: string;
  /** The opcodes of one job; undefined when the instance's tags do not allow this repair. */
  readonly job: readonly AllocatorOpcode[] | undefined;
}

export interface RepairOptions {
  /** Chooses new nodes; the cluster's default when left out. */
  readonly iallocator?: string;
  /** s since 1970. */
  readonly now: number;
}

const TAG = "ganeti:watcher:autorepair:";
const SUSPEND = `${TAG}suspend`;

/** One entry for each instance that is in need, by name. Those that are not to be up are left alone. */
export function repairPlan(cluster: AllocatorCluster, options: RepairOptions): readonly InstanceRepair[] {
  const names = Object.keys(cluster.instances).sort(compareNames);
  return names.flatMap((name) => {
    const instance = cluster.instances[name];
    if (instance === undefined || instance.admin_state !== "up") return [];
    const need = needOf(cluster, instance);
    if (need === undefined) return [];
    const allowed = allowedFor(cluster, instance, options.now);
    const isAllowed = allowed !== undefined && REPAIR_TYPES.indexOf(need.type) <= REPAIR_TYPES.indexOf(allowed);
    return [{ instance: name, ...need, job: isAllowed ? jobOf(name, instance, need.type, options) : undefined }];
  });
}

function needOf(
  { nodes }: AllocatorCluster,
  { nodes: [primary = "", secondary], disk_template: template }: AllocatorInstance,
): Pick<InstanceRepair, "type" | "reason"> | undefined {
  const isMirrored = DISK_TEMPLATE_TRAITS[template as DiskTemplate]?.mirroring !== "none";
  if (nodes[primary]?.offline === true)
    return { type: isMirrored ? "failover" : "reinstall", reason: `its primary node ${primary} is offline` };
  if (secondary !== undefined && nodes[secondary]?.offline === true)
    return { type: "fix-storage", reason: `its secondary node ${secondary} is offline` };
  if (isMirrored && nodes[primary]?.drained === true)
    return { type: "migrate", reason: `its primary node ${primary} is drained` };
  return undefined;
}

/** The most that may be done; undefined for nothing. */
function allowedFor(cluster: AllocatorCluster, instance: AllocatorInstance, now: number): RepairType | undefined {
  const group = cluster.nodes[instance.nodes[0] ?? ""]?.group ?? "";
  const places = [instance.tags, cluster.nodegroups[group]?.tags ?? [], cluster.cluster_tags];
  for (const tags of places) {
    const own = tags.filter((tag) => tag.startsWith(TAG));
    if (own.some((tag) => isSuspension(tag, now))) return undefined;
    const mildest = REPAIR_TYPES.find((type) => own.includes(`${TAG}${type}`));
    if (mildest !== undefined) return mildest;
  }
  return undefined;
}

function isSuspension(tag: string, now: number): boolean {
  return tag === SUSPEND || (tag.startsWith(`${SUSPEND}:`) && Number(tag.slice(SUSPEND.length + 1)) > now);
}

function jobOf(
  name: string,
  { disk_template: template, nodes }: AllocatorInstance,
  type: RepairType,
  { iallocator }: RepairOptions,
): readonly AllocatorOpcode[] {
  const of = (OP_ID: string, more: Readonly<Record<string, unknown>> = {}) => ({ OP_ID, instance_name: name, ...more });
  const chosen = iallocator === undefined ? {} : { iallocator };
  const newSecondary = of("OP_INSTANCE_REPLACE_DISKS", { mode: "replace_new_secondary", disks: [], ...chosen });
  const hasSecondary = template === "drbd" && nodes.length > 1;
  switch (type) {
    case "fix-storage":
      return [newSecondary];
    case "migrate":
      return [of("OP_INSTANCE_MIGRATE", { allow_failover: true, ...(hasSecondary ? {} : chosen) })];
    case "failover":
      return [
        of("OP_INSTANCE_FAILOVER", { ignore_consistency: false, ...(hasSecondary ? {} : chosen) }),
        ...(hasSecondary ? [newSecondary] : []),
      ];
    case "reinstall":
      return [of("OP_INSTANCE_RECREATE_DISKS", chosen), of("OP_INSTANCE_REINSTALL"), of("OP_INSTANCE_STARTUP")];
  }
}

/** What a changed cluster's row would mean for what there is: reasons against it, and what to be told of. Pure. */
import { type ErrorCode, OpPrereqError } from "@gannet/errors";
import {
  type Cluster,
  type ConfigView,
  checkBackendParameters,
  checkHypervisorParameters,
  checkNicParameters,
  DISK_TEMPLATE_TRAITS,
  type DiskTemplate,
  filledBeparams,
  filledHvparams,
  filledNicparams,
  type HypervisorName,
  type Instance,
  inheritedBeparams,
  inheritedHvparams,
  type Parameters,
} from "@gannet/objects";
import type { SetParamsOp } from "./cluster-changes.ts";

/**
 * The cluster can be so.
 * @param next - the row that `op` would make of `view`'s
 * @throws OpPrereqError that lists every reason why it cannot: wrong_input when one is in the request itself, else
 *   wrong_state
 */
export function refuseConsequences(op: SetParamsOp, view: ConfigView, next: Cluster): void {
  const contradictions = [...policyReasons(op, next), ...parameterReasons(op, next)];
  refuse(
    [...contradictions, ...stateReasons(op, view, next)],
    contradictions.length > 0 ? "wrong_input" : "wrong_state",
  );
}

/** @throws OpPrereqError that lists the reasons, when there are any */
export function refuse(reasons: readonly string[], code: ErrorCode): void {
  if (reasons.length > 0) throw new OpPrereqError(`Cannot apply the change: ${reasons.join("; ")}`, code);
}

function stateReasons(op: SetParamsOp, view: ConfigView, next: Cluster): readonly string[] {
  const instances = [...view.instances.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  return [
    ...storageReasons(op, view, next),
    ...inUse(instances, "disk template", ({ diskTemplate }) => diskTemplate, next.enabledDiskTemplates),
    ...inUse(instances, "hypervisor", ({ hypervisor }) => hypervisor, next.enabledHypervisors),
    ...instances.flatMap((instance) => instanceReasons(view, next, instance)),
  ];
}

/** What is enabled needs its place, and what holds disks cannot go. */
function storageReasons(op: SetParamsOp, view: ConfigView, next: Cluster): readonly string[] {
  const needs: readonly {
    readonly asked: string | null;
    readonly present: string;
    readonly what: string;
    readonly templates: readonly DiskTemplate[];
  }[] = [
    { asked: op.vg_name, present: next.volumeGroupName, what: "a volume group (vg_name)", templates: LVM_TEMPLATES },
    { asked: op.drbd_helper, present: next.drbdUsermodeHelper, what: "a usermode helper", templates: ["drbd"] },
    { asked: op.file_storage_dir, present: next.fileStorageDir, what: "a file_storage_dir", templates: ["file"] },
    {
      asked: op.shared_file_storage_dir,
      present: next.sharedFileStorageDir,
      what: "a shared_file_storage_dir",
      templates: ["sharedfile"],
    },
    {
      asked: op.gluster_storage_dir,
      present: next.glusterStorageDir,
      what: "a gluster_storage_dir",
      templates: ["gluster"],
    },
  ];
  const used = new Set([...view.disks.values()].map(({ template }) => template));
  return needs.flatMap(({ asked, present, what, templates }) => {
    if (present !== "" || (asked === null && op.enabled_disk_templates === null)) return [];
    const enabled = templates.filter((template) => next.enabledDiskTemplates.includes(template));
    const inDisks = templates.filter((template) => used.has(template) && !enabled.includes(template));
    return [
      ...enabled.map((template) => `Disk template ${template} is enabled and needs ${what}`),
      ...inDisks.map((template) => `There are disks of template ${template}, which needs ${what}`),
    ];
  });
}

const LVM_TEMPLATES = (Object.keys(DISK_TEMPLATE_TRAITS) as DiskTemplate[]).filter(
  (template) => DISK_TEMPLATE_TRAITS[template].usesLvm,
);

function policyReasons(op: SetParamsOp, next: Cluster): readonly string[] {
  const allowed = next.ipolicy["disk-templates"];
  const disabled = allowed.filter((template) => !next.enabledDiskTemplates.includes(template));
  if (op.ipolicy !== null && Object.hasOwn(op.ipolicy, "disk-templates") && disabled.length > 0)
    return [`The policy allows disk templates that are not enabled: ${disabled.join(", ")}`];
  if (op.ipolicy === null && op.enabled_disk_templates === null) return [];
  return disabled.length === allowed.length ? ["The policy allows none of the enabled disk templates"] : [];
}

function inUse<Kind extends string>(
  instances: readonly Instance[],
  what: string,
  kindOf: (instance: Instance) => Kind,
  enabled: readonly Kind[],
): readonly string[] {
  const users = new Map<Kind, string[]>();
  for (const instance of instances) {
    const kind = kindOf(instance);
    if (!enabled.includes(kind)) users.set(kind, [...(users.get(kind) ?? []), instance.name]);
  }
  return [...users].map(([kind, names]) => `Cannot disable ${what} ${kind}: it is used by ${names.join(", ")}`);
}

/** The levels that hold for everything to come. */
function parameterReasons(op: SetParamsOp, next: Cluster): readonly string[] {
  const oses = Object.entries(op.os_hvp ?? {}).flatMap(([os, values]) =>
    Object.keys(values).map((name) => [name as HypervisorName, os] as const),
  );
  return [
    ...(op.beparams === null
      ? []
      : complaint("Backend parameters", () => checkBackendParameters(inheritedBeparams(next)))),
    ...(op.nicparams === null
      ? []
      : complaint("NIC parameters", () => checkNicParameters(next.nicparams, SOME_ADDRESS))),
    ...changedHypervisors(op).flatMap((name) =>
      complaint(`Parameters of ${name}`, () => checkHypervisorParameters(name, inheritedHvparams(next, name, null))),
    ),
    ...oses.flatMap(([name, os]) =>
      complaint(`Parameters of ${name} for OS ${os}`, () =>
        checkHypervisorParameters(name, inheritedHvparams(next, name, os)),
      ),
    ),
  ];
}

/** Whether a NIC has an address is the NIC's affair. */
const SOME_ADDRESS = "192.0.2.1";

/** Hypervisors whose parameters are new to nodes: changed, or in use from now on. */
export function changedHypervisors(op: SetParamsOp): readonly HypervisorName[] {
  return [...new Set([...(Object.keys(op.hvparams ?? {}) as HypervisorName[]), ...(op.enabled_hypervisors ?? [])])];
}

/** What would no longer be in order, of an instance for which something changes. */
function instanceReasons(view: ConfigView, next: Cluster, instance: Instance): readonly string[] {
  const { name, hypervisor } = instance;
  const group = view.nodes.get(instance.primaryNode)?.group;
  const checks: readonly (readonly [what: string, of: (cluster: Cluster) => Parameters, check: Check])[] = [
    [
      `Instance ${name}`,
      (cluster) => filledHvparams(cluster, instance),
      (filled) => checkHypervisorParameters(hypervisor, filled),
    ],
    [`Instance ${name}`, (cluster) => filledBeparams(cluster, instance), checkBackendParameters],
    ...instance.nics.map((nic, index) => {
      const connection =
        nic.network === null || group === undefined ? undefined : view.groups.get(group)?.networks[nic.network];
      return [
        `Instance ${name}, nic/${index}`,
        (cluster: Cluster) => filledNicparams(cluster, connection, nic.nicparams),
        (filled: Parameters) => checkNicParameters(filled, nic.ip),
      ] as const;
    }),
  ];
  return checks.flatMap(([what, of, check]) => {
    const filled = of(next);
    return sameValues(filled, of(view.cluster)) ? [] : complaint(what, () => check(filled));
  });
}

type Check = (filled: Parameters) => void;

function sameValues(a: Parameters, b: Parameters): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

function complaint(what: string, check: () => void): readonly string[] {
  try {
    check();
    return [];
  } catch (error) {
    if (error instanceof OpPrereqError) return [`${what}: ${error.message}`];
    throw error;
  }
}

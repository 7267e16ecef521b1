/** What is wrong with the instances of a group (spec/opcodes.json, `verify_error_codes`). Pure. */
import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  filledPolicy,
  type Instance,
  type Node,
  policyViolations,
} from "@gannet/objects";
import type { VerifyErrorCode } from "@gannet/opcodes";
import type { InstanceStatus } from "@gannet/query";
import type { InspectedDisk } from "../group/disk-inspection.ts";
import { hasExclusiveStorage } from "../instance/exclusive-storage.ts";
import { useOf } from "../instance/policy-check.ts";
import type { Check } from "./verification-report.ts";

/** What is known of an instance beside the configuration. */
export interface InstanceFacts {
  readonly status: InstanceStatus;
  /** Names of nodes other than its primary on which it was seen. */
  readonly seenElsewhere: readonly string[];
  /** Its disks, as the nodes that answered see them. */
  readonly disks: readonly InspectedDisk[];
}

export function instanceChecks(view: ConfigView, instance: Instance, facts: InstanceFacts): readonly Check[] {
  return [
    ...stateChecks(view, instance, facts),
    ...placeChecks(view, instance),
    ...diskChecks(instance, facts.disks),
    policyCheck(view, instance),
    spindlesCheck(view, instance),
  ];
}

function checkOf({ name }: Instance) {
  return (code: VerifyErrorCode, ok: boolean, text: string): Check => ({ code, item: name, ok, text });
}

function warning(check: Check): Check {
  return { ...check, severity: "warning" };
}

function stateChecks(view: ConfigView, instance: Instance, { status, seenElsewhere }: InstanceFacts): readonly Check[] {
  const check = checkOf(instance);
  const primary = view.nodes.get(instance.primaryNode)?.name ?? instance.primaryNode;
  const isDown = status === "ERROR_down" || (status === "ERROR_wrongnode" && instance.adminState === "up");
  const wrongly = [...seenElsewhere, ...(status === "ERROR_up" ? [primary] : [])];
  return [
    check("EINSTANCEDOWN", !isDown, `instance not running on its primary node ${primary}`),
    ...(wrongly.length === 0 ? [check("EINSTANCEWRONGNODE", true, "instance runs where it should not")] : []),
    ...wrongly.map((node) => check("EINSTANCEWRONGNODE", false, `instance should not run on node ${node}`)),
  ];
}

function placeChecks(view: ConfigView, instance: Instance): readonly Check[] {
  const check = checkOf(instance);
  const nodes = [instance.primaryNode, ...view.secondaryNodes(instance)].flatMap((uuid) => view.nodes.get(uuid) ?? []);
  const [primary, ...secondaries] = nodes;
  const names = (some: readonly Node[]) => some.map(({ name }) => name).join(", ");
  const offline = secondaries.filter((node) => node.offline);
  const unable = nodes.filter(({ vmCapable }) => !vmCapable);
  const groups = new Set(nodes.map(({ group }) => view.groups.get(group)?.name ?? group));
  const exclusive = nodes.filter(({ uuid }) => hasExclusiveStorage(view, uuid));
  const suits = exclusive.length === 0 || DISK_TEMPLATE_TRAITS[instance.diskTemplate].exclusiveStorage;
  return [
    check(
      "EINSTANCEBADNODE",
      !(instance.adminState === "up" && primary?.offline),
      `instance is marked as running and lives on offline node ${primary?.name ?? ""}`,
    ),
    check("EINSTANCEBADNODE", offline.length === 0, `instance has offline secondary node(s) ${names(offline)}`),
    check("EINSTANCEBADNODE", unable.length === 0, `instance lives on non-vm_capable node ${names(unable)}`),
    warning(
      check("EINSTANCELAYOUT", secondaries.length <= 1, `instance has multiple secondary nodes: ${names(secondaries)}`),
    ),
    warning(
      check(
        "EINSTANCESPLITGROUPS",
        groups.size <= 1,
        `instance has primary and secondary nodes in different groups: ${[...groups].join(", ")}`,
      ),
    ),
    check(
      "EINSTANCEUNSUITABLENODE",
      suits,
      `instance has template ${instance.diskTemplate}, which is not supported on nodes that have exclusive storage ` +
        `set: ${names(exclusive)}`,
    ),
  ];
}

function diskChecks(instance: Instance, disks: readonly InspectedDisk[]): readonly Check[] {
  const check = checkOf(instance);
  const codes = {
    missing: "EINSTANCEMISSINGDISK",
    inactive: "EINSTANCEFAULTYDISK",
    faulty: "EINSTANCEFAULTYDISK",
  } as const;
  const found = disks.flatMap(({ condition, problem }) =>
    condition === "ok" ? [] : [check(codes[condition], false, problem)],
  );
  const clean = Object.values(codes).filter((code) => found.every((each) => each.code !== code));
  return [...found, ...[...new Set(clean)].map((code) => check(code, true, "its disks are in order"))];
}

/** Their number is what the policy and the allocator go by. */
function spindlesCheck(view: ConfigView, instance: Instance): Check {
  const isKnown = view.disksOf(instance).every(({ template, spindles }) => template !== "plain" || spindles !== null);
  return warning(
    checkOf(instance)(
      "EINSTANCEPOLICY",
      isKnown || !hasExclusiveStorage(view, instance.primaryNode),
      "number of spindles not configured for disks while exclusive storage is enabled, try gnt-cluster repair-disk-sizes",
    ),
  );
}

function policyCheck(view: ConfigView, instance: Instance): Check {
  const group = view.groups.get(view.nodes.get(instance.primaryNode)?.group ?? ("" as never));
  const policy = group === undefined ? view.cluster.ipolicy : filledPolicy(view.cluster, group);
  const violations = policyViolations(policy, useOf(view, instance));
  return warning(
    checkOf(instance)("EINSTANCEPOLICY", violations.length === 0, `instance violates policy: ${violations.join("; ")}`),
  );
}

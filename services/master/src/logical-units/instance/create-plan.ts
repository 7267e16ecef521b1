/**
 * What a creation comes to: the opcode's parameters checked against the configuration, with everything chosen
 * that does not need a node to be asked. Pure.
 */
import { OpPrereqError } from "@gannet/errors";
import {
  addTags,
  type ConfigView,
  checkBackendParameters,
  checkHypervisorParameters,
  DISK_TEMPLATE_TRAITS,
  type DiskTemplate,
  filledBeparams,
  filledHvparams,
  type HypervisorName,
  type InstanceUse,
  inheritedBeparams,
  inheritedHvparams,
  type Node,
  newBackendParameters,
  type Parameters,
  refuseGlobalParameters,
  updateHypervisorParameters,
} from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { checkTemplateFits, hasExclusiveStorage } from "./exclusive-storage.ts";
import { knownNode } from "./lookups.ts";
import { type PlannedDisk, plannedDisks } from "./planned-disks.ts";
import { type PlannedNics, plannedNics } from "./planned-nics.ts";
import { spindleUse } from "./policy-check.ts";

type CreateOp = Op<typeof InstanceCreate>;

/** What is known of a new instance before its nodes are. */
export interface NewInstance {
  readonly name: string;
  readonly hypervisor: HypervisorName;
  readonly template: DiskTemplate;
  /** Name or name+variant; empty when nothing is to be installed and none was named. */
  readonly os: string;
  /** Whether the OS definition's create script runs. */
  readonly install: boolean;
  readonly hvparams: Parameters;
  readonly beparams: Parameters;
  /** Backend parameters with what is inherited. */
  readonly filledBeparams: Parameters;
  readonly osparams: Parameters;
  readonly osparamsPrivate: Parameters;
  readonly tags: readonly string[];
}

/** A new instance and the nodes that it will be on. */
export interface PlacedInstance extends NewInstance {
  readonly node: Node;
  /** Where the second copies are; null for templates that keep none. */
  readonly secondary: Node | null;
}

/** The nodes that the instance will be on, the primary first. */
export function nodesOf({ node, secondary }: PlacedInstance): readonly Node[] {
  return secondary === null ? [node] : [node, secondary];
}

export interface CreatePlan extends PlacedInstance {
  readonly disks: readonly PlannedDisk[];
  readonly nics: PlannedNics;
  /** Whether it is only reserved. */
  readonly forthcoming: boolean;
}

/**
 * What is asked for, before its nodes are known.
 * @throws OpPrereqError or another of the taxonomy, naming what does not fit
 */
export function newInstance(op: CreateOp, view: ConfigView): NewInstance {
  if (!op.commit && view.findInstance(op.instance_name)?.name === op.instance_name)
    throw new OpPrereqError(`Instance '${op.instance_name}' is already in the cluster`, "already_exists");
  const hypervisor = enabledHypervisor(view, op.hypervisor ?? null);
  const template = usableTemplate(view, op.disk_template ?? null);
  const os = op.os_type ?? "";
  if (os === "" && op.no_install !== true)
    throw new OpPrereqError("No OS definition was named (os_type) and the installation is not left out", "wrong_input");
  const beparams = newBackendParameters(op.beparams, inheritedBeparams(view.cluster));
  const filled = filledBeparams(view.cluster, { beparams });
  checkBackendParameters(filled);
  return {
    name: op.instance_name,
    hypervisor,
    template,
    os,
    // What is on adopted disks stays.
    install: op.no_install !== true && template !== "diskless" && op.disks.every(({ adopt }) => adopt == null),
    hvparams: ownHvparams(view, op, hypervisor, os),
    beparams,
    filledBeparams: filled,
    osparams: op.osparams,
    osparamsPrivate: op.osparams_private ?? {},
    tags: addTags([], op.tags),
  };
}

/**
 * The policy is not compared yet (see {@link plannedUse}): the sizes of adopted disks are known only to their node.
 * @throws OpPrereqError or another of the taxonomy, naming what does not fit
 */
export function planCreate(op: CreateOp, view: ConfigView): CreatePlan {
  const instance = newInstance(op, view);
  const { template, name: instanceName } = instance;
  const node = usableNode(view, op.pnode_uuid ?? op.pnode ?? "");
  const plan: CreatePlan = {
    ...instance,
    node,
    secondary: DISK_TEMPLATE_TRAITS[template].needsSecondary
      ? mirrorNode(view, op.snode_uuid ?? op.snode ?? "", { template, primary: node })
      : null,
    disks: plannedDisks(view, op.disks, { template, instanceName, primary: node, files: op }),
    nics: plannedNics(op.nics, view, { primary: node, conflictsCheck: op.conflicts_check }),
    forthcoming: op.forthcoming,
  };
  checkExclusiveStorage(view, plan);
  return op.identify_defaults ? withoutDefaults(view, plan) : plan;
}

function ownHvparams(view: ConfigView, op: CreateOp, hypervisor: HypervisorName, os: string): Parameters {
  refuseGlobalParameters(op.hvparams);
  const hvparams = updateHypervisorParameters(hypervisor, {}, op.hvparams);
  checkHypervisorParameters(hypervisor, filledHvparams(view.cluster, { hypervisor, os, hvparams }));
  return hvparams;
}

/**
 * The node that is to hold a mirrored disk's second copy.
 * @throws OpPrereqError: wrong_input, unknown_entity, wrong_state
 */
export function mirrorNode(
  view: ConfigView,
  name: string,
  { template, primary }: { readonly template: DiskTemplate; readonly primary: Node },
): Node {
  if (name === "")
    throw new OpPrereqError(`Disk template ${template} keeps a second copy: name the node for it`, "wrong_input");
  const node = usableNode(view, name);
  if (node.uuid === primary.uuid)
    throw new OpPrereqError(`The secondary node cannot be the primary node ${primary.name}`, "wrong_input");
  if (node.group !== primary.group)
    throw new OpPrereqError(
      `Nodes ${primary.name} and ${node.name} are in different node groups; disks are mirrored inside one`,
      "wrong_input",
    );
  checkTemplateFits(view, template, [primary, node]);
  return node;
}

/** A node that takes new disks and guests. @throws OpPrereqError: unknown_entity, wrong_state */
export function usableNode(view: ConfigView, name: string): Node {
  const node = knownNode(view, name);
  const refusal = node.offline ? "marked offline" : node.drained ? "drained" : node.vmCapable ? null : "not vm_capable";
  if (refusal !== null) throw new OpPrereqError(`Cannot use node ${node.name}: it is ${refusal}`, "wrong_state");
  return node;
}

function enabledHypervisor(view: ConfigView, asked: HypervisorName | null): HypervisorName {
  const enabled = view.cluster.enabledHypervisors;
  const hypervisor = asked ?? enabled[0];
  if (hypervisor === undefined || !enabled.includes(hypervisor))
    throw new OpPrereqError(
      `Hypervisor ${hypervisor ?? "(none)"} is not enabled in the cluster; enabled: ${enabled.join(", ")}`,
      "wrong_state",
    );
  return hypervisor;
}

/** @throws OpPrereqError (wrong_input) */
export function usableTemplate(view: ConfigView, asked: DiskTemplate | null): DiskTemplate {
  const enabled = view.cluster.enabledDiskTemplates;
  const template = asked ?? enabled[0];
  if (template === undefined || !enabled.includes(template))
    throw new OpPrereqError(
      `Disk template '${template ?? ""}' is not enabled in the cluster; enabled: ${enabled.join(", ")}`,
      "wrong_input",
    );
  return template;
}

/** @throws OpPrereqError (wrong_input) when the disks do not suit nodes whose disks have physical volumes of their own */
export function checkExclusiveStorage(
  view: ConfigView,
  { node, secondary, template, disks }: Pick<CreatePlan, "node" | "secondary" | "template" | "disks">,
): void {
  const exclusive = [node, secondary].find((each) => each !== null && hasExclusiveStorage(view, each.uuid));
  const withSpindles = disks.find(({ spindles }) => spindles !== null);
  if (exclusive == null) {
    if (withSpindles === undefined) return;
    throw new OpPrereqError(`Disk ${withSpindles.index}: spindles are for nodes with exclusive storage`, "wrong_input");
  }
  checkTemplateFits(view, template, [exclusive]);
  const without = disks.find(({ spindles, adopt }) => spindles === null && adopt === null);
  if (without !== undefined)
    throw new OpPrereqError(
      `Disk ${without.index}: its spindles are missing, and node ${exclusive.name} has exclusive storage`,
      "wrong_input",
    );
}

/** What the new instance takes of its group's policy. */
export function plannedUse(view: ConfigView, plan: CreatePlan): InstanceUse {
  return {
    memoryMib: Number(plan.filledBeparams.maxmem),
    vcpus: Number(plan.filledBeparams.vcpus),
    spindleUse: spindleUse(
      view,
      plan.node.uuid,
      plan.filledBeparams,
      plan.disks.map(({ spindles }) => spindles),
    ),
    diskSizesMib: plan.disks.map((disk) => disk.sizeMib),
    nicCount: plan.nics.drafts.length,
    diskTemplate: plan.template,
  };
}

/** Parameters that say what is inherited anyway are left to be inherited (`identify_defaults`). */
function withoutDefaults(view: ConfigView, plan: CreatePlan): CreatePlan {
  const differing = (own: Parameters, inherited: Parameters) =>
    Object.fromEntries(Object.entries(own).filter(([name, value]) => inherited[name] !== value));
  const { cluster } = view;
  return {
    ...plan,
    hvparams: differing(plan.hvparams, inheritedHvparams(cluster, plan.hypervisor, plan.os)),
    beparams: differing(plan.beparams, inheritedBeparams(cluster)),
    osparams: differing(plan.osparams, cluster.osparams[plan.os] ?? {}),
    nics: {
      ...plan.nics,
      drafts: plan.nics.drafts.map((nic) => ({ ...nic, nicparams: differing(nic.nicparams, cluster.nicparams) })),
    },
  };
}

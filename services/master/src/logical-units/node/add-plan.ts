/** What a node is that joins the cluster, or comes back to it; pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  candidatePool,
  changedDiskState,
  changedHypervisorState,
  isIpv4,
  type Node,
  type NodeGroup,
  type NodeUuid,
  newNode,
} from "@gannet/objects";
import type { NodeAdd, Op } from "@gannet/opcodes";
import { knownGroup } from "../group/lookups.ts";
import { checkAddressesAreFree, checkIsIpv4, isMultiHomed } from "./secondary-ip.ts";
import { ownNdparams } from "./set-params-plan.ts";

export type AddOp = Op<typeof NodeAdd>;

/** What a row is made of that does not follow from the request. */
export interface Joining {
  readonly uuid: NodeUuid;
  /** The address that the name has, or that is asked for. */
  readonly primaryIp: string;
  readonly now: number;
}

/**
 * The row of the node, not yet stored.
 * @throws OpPrereqError, TypeEnforcementError
 */
export function plannedNode(view: ConfigView, op: AddOp, { uuid, primaryIp, now }: Joining): Node {
  const before = memberBefore(view, op);
  const secondaryIp = op.secondary_ip ?? before?.secondaryIp ?? primaryIp;
  checkIsIpv4(secondaryIp);
  checkAddressesAreFree(view, op.node_name, [primaryIp, secondaryIp]);
  if (before !== undefined && (before.primaryIp !== primaryIp || before.secondaryIp !== secondaryIp))
    throw new OpPrereqError(
      `Node ${op.node_name} had the addresses ${before.primaryIp} and ${before.secondaryIp}: it comes back with the same`,
      "wrong_input",
    );
  checkHoming(view, op.node_name, { primaryIp, secondaryIp });
  const base =
    before ??
    newNode({ uuid, name: op.node_name, primaryIp, secondaryIp }, groupOf(view, op).uuid, now, {
      masterCandidate: false,
    });
  const vmCapable = op.vm_capable ?? base.vmCapable;
  checkVmCapable(view, base, vmCapable);
  const masterCapable = op.master_capable ?? base.masterCapable;
  const { candidates } = candidatePool(view.cluster, view.nodes.values(), [base.uuid]);
  return {
    ...base,
    masterCapable,
    vmCapable,
    masterCandidate: masterCapable && candidates < view.cluster.candidatePoolSize,
    offline: false,
    drained: false,
    powered: true,
    ndparams: ownNdparams(base.ndparams, op.ndparams ?? {}),
    hvState: changedHypervisorState(base.hvState, op.hv_state ?? {}),
    diskState: changedDiskState(base.diskState, op.disk_state ?? {}),
  };
}

/**
 * The node as the cluster knows it, if it is to come back.
 * @throws OpPrereqError when it is known and was not to be, or the other way round
 */
export function memberBefore(view: ConfigView, op: AddOp): Node | undefined {
  const present = [...view.nodes.values()].find(({ name }) => name === op.node_name);
  if (!op.readd) {
    if (present === undefined) return undefined;
    throw new OpPrereqError(
      `Node ${op.node_name} is in the cluster already; readd it if it was set up anew`,
      "already_exists",
    );
  }
  if (op.group) throw new OpPrereqError(`Node ${op.node_name} keeps its group when it is readded`, "wrong_input");
  if (present === undefined)
    throw new OpPrereqError(`Node ${op.node_name} is not in the cluster: it cannot be readded`, "unknown_entity");
  if (present.uuid === view.cluster.masterNode)
    throw new OpPrereqError(`Node ${op.node_name} is the master: it cannot be readded`, "wrong_input");
  return present;
}

function groupOf(view: ConfigView, op: AddOp): NodeGroup {
  if (op.group) return knownGroup(view, op.group);
  const [only, ...others] = view.groups.values();
  if (only !== undefined && others.length === 0) return only;
  throw new OpPrereqError("There is more than one node group: name the one that the node joins (group)", "wrong_input");
}

/** All nodes have one address, or all have one of their own for replication. */
function checkHoming(
  view: ConfigView,
  name: string,
  { primaryIp, secondaryIp }: { readonly primaryIp: string; readonly secondaryIp: string },
): void {
  // Replication needs IPv4, so that an IPv6 node has a second address whatever the others have.
  if (!isIpv4(primaryIp) || isMultiHomed(view) === (primaryIp !== secondaryIp)) return;
  throw new OpPrereqError(
    isMultiHomed(view)
      ? `Nodes of this cluster have addresses of their own for replication: ${name} needs one, too (secondary_ip)`
      : `Nodes of this cluster have one address each: ${name} cannot have another for replication`,
    "wrong_input",
  );
}

function checkVmCapable(view: ConfigView, { uuid, name }: Node, vmCapable: boolean): void {
  const instances = [...view.primaryInstances(uuid), ...view.secondaryInstances(uuid)];
  if (vmCapable || instances.length === 0) return;
  throw new OpPrereqError(`Node ${name} hosts instances: vm_capable cannot be cleared`, "wrong_state");
}

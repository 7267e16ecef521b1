/**
 * Instances that are only reserved: their name, nodes, addresses, ports and DRBD minors are theirs, and nothing of them
 * is on any node. `commit` makes them real as they were reserved. Pure.
 */
import { OpPrereqError } from "@gannet/errors";
import type { ConfigView, Instance, Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import { withCommunicationNic } from "./communication-nic.ts";
import { newInstance, type PlacedInstance, usableNode } from "./create-plan.ts";

type CreateOp = Op<typeof InstanceCreate>;

/** A reservation that is about to become real. */
export interface CommittedInstance {
  readonly plan: PlacedInstance;
  /** What of its row the request and its being real change. */
  readonly changes: Partial<Instance>;
  /** The row as it is to be, not started yet. */
  readonly draft: Instance;
}

/** @throws OpPrereqError (wrong_input) for a request whose parts do not go together */
export function checkReservation(op: CreateOp): void {
  const refuse = (text: string): never => {
    throw new OpPrereqError(text, "wrong_input");
  };
  if (op.forthcoming && op.commit) refuse("An instance is either reserved (forthcoming) or made real (commit)");
  const what = op.forthcoming ? "Only what is made from nothing can be reserved" : "What was reserved is made anew";
  if ((op.forthcoming || op.commit) && op.mode !== "create") refuse(`${what}: use mode create`);
  if ((op.forthcoming || op.commit) && op.disks.some(({ adopt }) => adopt != null))
    refuse("Disks that are to be adopted exist already: they are not reserved");
}

/**
 * The instance that was reserved under this name.
 * @throws OpPrereqError: unknown_entity, or wrong_state when it is real
 */
export function reservedInstance(view: ConfigView, name: string): Instance {
  const row = view.findInstance(name);
  if (row?.name !== name)
    throw new OpPrereqError(`Instance '${name}' is not known: there is nothing to commit`, "unknown_entity");
  if (!row.forthcoming)
    throw new OpPrereqError(`Instance ${name} is not forthcoming: there is nothing to commit`, "wrong_state");
  return row;
}

/** The nodes that a reservation is on; none where there is none. */
export function reservedNodes(view: ConfigView, name: string): readonly Node[] {
  const row = view.findInstance(name);
  if (row === undefined) return [];
  return [row.primaryNode, ...view.secondaryNodes(row)].flatMap((uuid) => view.nodes.get(uuid) ?? []);
}

/**
 * What a request to commit comes to. What it says may not differ from what was reserved, but for parameters of
 * hypervisor, guest and OS, which go over those reserved.
 * @throws OpPrereqError: unknown_entity, wrong_state, or wrong_input naming what differs
 */
export function planCommit(op: CreateOp, view: ConfigView): CommittedInstance {
  const row = reservedInstance(view, op.instance_name);
  const disks = view.disksOf(row);
  const [secondary] = view.secondaryNodes(row);
  const nodeName = (uuid: Instance["primaryNode"] | undefined) =>
    uuid === undefined ? "" : (view.nodes.get(uuid)?.name ?? uuid);
  refuseDifference("primary node", view.findNode(op.pnode_uuid ?? op.pnode ?? "")?.name, nodeName(row.primaryNode));
  if (secondary !== undefined)
    refuseDifference("secondary node", view.findNode(op.snode_uuid ?? op.snode ?? "")?.name, nodeName(secondary));
  refuseDifference("disk template", op.disk_template, row.diskTemplate);
  refuseDifference("hypervisor", op.hypervisor, row.hypervisor);
  refuseDifference("number of disks", op.disks.length || undefined, disks.length);
  for (const [index, { size }] of op.disks.entries())
    refuseDifference(`size of disk ${index}`, size, disks[index]?.sizeMib ?? 0);
  const nics = op.nics.length === 0 ? undefined : withCommunicationNic(view, op).nics.length;
  refuseDifference("number of NICs", nics, row.nics.length);
  const asked = newInstance(
    {
      ...op,
      os_type: op.os_type ?? (row.os || null),
      disk_template: row.diskTemplate,
      hypervisor: row.hypervisor,
      hvparams: { ...row.hvparams, ...op.hvparams },
      beparams: { ...row.beparams, ...op.beparams },
      osparams: { ...row.osparams, ...op.osparams },
      osparams_private: { ...row.osparamsPrivate, ...op.osparams_private },
      tags: [...new Set([...row.tags, ...op.tags])],
    },
    view,
  );
  const plan: PlacedInstance = {
    ...asked,
    node: usableNode(view, row.primaryNode),
    secondary: secondary === undefined ? null : usableNode(view, secondary),
  };
  const { os, hvparams, beparams, osparams, osparamsPrivate, tags } = asked;
  const parameters = { os, hvparams, beparams, osparams, osparamsPrivate, tags: [...tags] };
  const changes = { ...parameters, forthcoming: false, disksActive: plan.secondary !== null };
  return { plan, changes, draft: { ...row, ...changes } };
}

function refuseDifference<Value>(what: string, asked: Value | null | undefined, reserved: Value): void {
  if (asked === null || asked === undefined || asked === reserved) return;
  throw new OpPrereqError(
    `The instance was reserved with another ${what}: ${reserved}, not ${asked}; leave it out, or remove the ` +
      "reservation and make a new one",
    "wrong_input",
  );
}

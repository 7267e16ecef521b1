/**
 * The NIC by which a guest talks to its node alone (spec/opcodes.json, `instance_communication`): in the network that the
 * cluster has for it, with an address of that network's pool. Pure.
 */
import { OpPrereqError } from "@gannet/errors";
import { COMMUNICATION_NIC_PREFIX, type ConfigView, type Instance, isCommunicationNic } from "@gannet/objects";
import type { InstanceCreate, InstanceSetParams, Op } from "@gannet/opcodes";

/** The request with that NIC behind the others, where it is asked for. @throws OpPrereqError (wrong_state) */
export function withCommunicationNic(view: ConfigView, op: Op<typeof InstanceCreate>): Op<typeof InstanceCreate> {
  if (!op.instance_communication || op.nics.some(isCommunicationNic)) return op;
  return { ...op, nics: [...op.nics, settingsOf(view, op.instance_name)] };
}

/** The request with the change of NICs that gives an instance that NIC or takes it away. @throws OpPrereqError */
export function withCommunicationChange(
  view: ConfigView,
  instance: Instance,
  op: Op<typeof InstanceSetParams>,
): Op<typeof InstanceSetParams> {
  if (op.instance_communication === null) return op;
  const present = instance.nics.find(isCommunicationNic);
  if (op.instance_communication === (present !== undefined)) return op;
  const change: (typeof op.nics)[number] =
    present === undefined ? ["add", -1, settingsOf(view, instance.name)] : ["remove", present.uuid, {}];
  return { ...op, nics: [...op.nics, change] };
}

function settingsOf(view: ConfigView, instanceName: string) {
  const network = view.cluster.instanceCommunicationNetwork;
  if (network === "")
    throw new OpPrereqError(
      "The cluster has no network for communication with guests: set its instance_communication_network",
      "wrong_state",
    );
  return {
    name: `${COMMUNICATION_NIC_PREFIX}${instanceName}`.slice(0, LONGEST_NAME),
    mac: "auto",
    ip: "pool",
    network,
  };
}

/** Of a device. */
const LONGEST_NAME = 128;

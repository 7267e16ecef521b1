/** What a node's address for replication may be (spec/os-iallocator-hooks.json, `node_add.checks`). */
import { OpPrereqError } from "@gannet/errors";
import { type ConfigView, DISK_TEMPLATE_TRAITS, type Instance, isIpv4, type Node } from "@gannet/objects";
import type { PrereqContext } from "../../executor/context.ts";
import { isRunning } from "../instance/lookups.ts";
import { agentOf, checkReplicationAddress, portOf } from "./agent-checks.ts";

/** Instances whose disks are replicated over the node's address. */
export function replicatedInstances(view: ConfigView, node: Node): readonly Instance[] {
  return [...view.primaryInstances(node.uuid), ...view.secondaryInstances(node.uuid)].filter(
    ({ diskTemplate }) => DISK_TEMPLATE_TRAITS[diskTemplate].mirroring === "internal",
  );
}

/** @throws OpPrereqError (wrong_input) */
export function checkIsIpv4(address: string): void {
  if (!isIpv4(address))
    throw new OpPrereqError(`The address for replication must be an IPv4 address, not ${address}`, "wrong_input");
}

/** @throws OpPrereqError (resource_not_unique) when another node has one of the addresses */
export function checkAddressesAreFree(view: ConfigView, name: string, addresses: readonly string[]): void {
  for (const other of view.nodes.values()) {
    const taken = addresses.find((address) => address === other.primaryIp || address === other.secondaryIp);
    if (other.name !== name && taken !== undefined)
      throw new OpPrereqError(`Node ${other.name} has the address ${taken} already`, "resource_not_unique");
  }
}

/** Whether the cluster's nodes have addresses of their own for replication; the master's say it for all. */
export function isMultiHomed(view: ConfigView): boolean {
  const master = view.nodes.get(view.cluster.masterNode);
  return master !== undefined && master.primaryIp !== master.secondaryIp;
}

/**
 * A change of a node's address for replication.
 * @returns what is to be told as a warning
 * @throws OpPrereqError
 */
export async function checkNewSecondaryIp(
  ctx: PrereqContext,
  node: Node,
  { address, force }: { readonly address: string; readonly force: boolean },
): Promise<string | undefined> {
  const view = ctx.config;
  checkIsIpv4(address);
  checkAddressesAreFree(view, node.name, [address]);
  const warning = checkHoming(view, node, address, force);
  const instances = replicatedInstances(view, node);
  if (node.offline) {
    if (instances.length === 0) return warning;
    throw new OpPrereqError(
      `Node ${node.name} is offline and has instances whose disks are replicated (${namesOf(instances)}): ` +
        "its address for replication cannot change",
      "wrong_state",
    );
  }
  const running = instances.filter((instance) => instance.adminState === "up" || isRunning(ctx, instance));
  if (running.length > 0)
    throw new OpPrereqError(
      `The address for replication of ${node.name} cannot change while these run: ${namesOf(running)}; stop them first`,
      "wrong_state",
    );
  const port = portOf(agentOf(node));
  await checkReplicationAddress(ctx, ctx.node(node.uuid), { name: node.name, address, port });
  return warning;
}

const namesOf = (instances: readonly Instance[]): string => instances.map(({ name }) => name).join(", ");

/** The cluster goes from one network to two, or back, by a forced change of the master node first. */
function checkHoming(view: ConfigView, node: Node, address: string, force: boolean): string | undefined {
  const multiHomed = isMultiHomed(view);
  const separate = address !== node.primaryIp;
  if (multiHomed === separate) return undefined;
  if (!force || node.uuid !== view.cluster.masterNode)
    throw new OpPrereqError(
      multiHomed
        ? `Nodes of this cluster have addresses of their own for replication: ${address} cannot be both of ` +
            `${node.name}'s; to give them up, change the master node first, with force`
        : "Nodes of this cluster have one address each; to give them addresses of their own for replication, " +
            "change the master node first, with force",
      "wrong_input",
    );
  return multiHomed
    ? "The cluster gives up addresses of their own for replication: take those of the other nodes, too"
    : "The cluster's nodes are to have addresses of their own for replication: give one to each of the others, too";
}

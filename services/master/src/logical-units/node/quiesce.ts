import { OpExecError, OpPrereqError } from "@gannet/errors";
import type { ConfigView, Instance, Node } from "@gannet/objects";
import { NodeQuiesce } from "@gannet/opcodes";
import type { NodeClient } from "@gannet/rpc";
import { failureOf } from "../../executor/attempt.ts";
import type { ExecContext } from "../../executor/context.ts";
import { exclusive } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { guestsOn } from "../../nodes/guests-on.ts";
import { isAskedByWatcher, overtaken } from "../../watcher/watcher-jobs.ts";
import { endsOf, placedDisks } from "../instance/disk-ends.ts";
import { knownNode } from "../instance/lookups.ts";
import { agentOf, withAgent } from "./agent-checks.ts";

/**
 * The locks keep the node offline, and keep others from moving its instances, while it is done. That it is the node is
 * proven by its certificate, and that it obeys this leader by its epoch; one that does not answer is left as it is.
 */
export const nodeQuiesce = implement(NodeQuiesce, {
  locks(op, view) {
    const node = view.findNode(op.node_uuid ?? op.node_name);
    if (node === undefined) return [];
    return [exclusive.node(node.uuid), ...instancesAt(view, node).map(({ name }) => exclusive.instance(name))];
  },

  checkPrereq(ctx, op) {
    const node = knownNode(ctx.config, op.node_uuid ?? op.node_name);
    const isWatchers = isAskedByWatcher(op);
    if (isWatchers && !ctx.config.cluster.maintainNodeHealth) throw overtaken("maintain_node_health is off");
    if (node.offline) return node;
    if (isWatchers) throw overtaken(`node ${node.name} is not marked offline`);
    throw new OpPrereqError(`Node ${node.name} is not marked offline: what runs on it belongs there`, "wrong_state");
  },

  exec: (ctx, _op, node) =>
    withAgent(ctx, agentOf(node), async (agent) => {
      const failures: string[] = [];
      const attempt = async (title: string, work: () => Promise<unknown>): Promise<boolean> => {
        const failure = await failureOf(ctx, work);
        if (failure !== undefined) failures.push(`${title}: ${failure.message}`);
        return failure === undefined;
      };
      const guests = await stopGuests(ctx, agent, attempt);
      const disks = await takeDownDisks(ctx, agent, node, attempt);
      if (failures.length > 0) throw new OpExecError(`Node ${node.name} could not be quiesced: ${failures.join("; ")}`);
      return { guests, disks };
    }),
});

/** Does one thing of several. @returns whether it is done */
type Attempt = (title: string, work: () => Promise<unknown>) => Promise<boolean>;

function instancesAt(view: ConfigView, { uuid }: Node): readonly Instance[] {
  return [...view.instances.values()].filter(
    (instance) => instance.primaryNode === uuid || view.secondaryNodes(instance).includes(uuid),
  );
}

/** At once, as Ganeti does: they may be started elsewhere at any moment. */
async function stopGuests(ctx: ExecContext, agent: NodeClient, attempt: Attempt): Promise<string[]> {
  const stopped: string[] = [];
  for (const { name, hypervisor } of await guestsOn(agent, ctx.signal)) {
    const request = { step: ctx.step(`quiesce/stop/${name}`), name, hypervisor, force: true, timeoutMs: 0 };
    ctx.feedback.info(`Stopping guest ${name} on ${agent.nodeName}`);
    if (await attempt(`guest ${name}`, () => agent.instances.stop(request, { signal: ctx.signal }))) stopped.push(name);
  }
  return stopped;
}

/** Those that the configuration knows; minors of others are told of, for whoever made them. */
async function takeDownDisks(ctx: ExecContext, agent: NodeClient, node: Node, attempt: Attempt): Promise<string[]> {
  const { config, signal } = ctx;
  const ends = instancesAt(config, node).flatMap((instance) =>
    placedDisks(config, instance)
      .filter(({ disk }) => disk.template === "drbd")
      .flatMap((placed) => endsOf(config, instance, placed))
      .filter((end) => end.node === node.uuid)
      .map(({ index, device }) => ({ device, title: `disk/${index} of ${instance.name}` })),
  );
  const done: string[] = [];
  const before = await usedMinors(agent, signal);
  if (before.length === 0) return done;
  for (const { device, title } of ends) {
    const request = { step: ctx.step(`quiesce/shutdown/${device.uuid}`), device };
    if (await attempt(title, () => agent.blockDevices.shutdown(request, { signal }))) done.push(title);
  }
  const left = await usedMinors(agent, signal);
  if (left.length > 0)
    ctx.feedback.warning(`DRBD minors ${left.join(", ")} are still in use on ${node.name}; look there`);
  return done;
}

async function usedMinors(agent: NodeClient, signal: AbortSignal): Promise<readonly number[]> {
  return (await agent.storage.describeDrbd({}, { signal })).minors;
}

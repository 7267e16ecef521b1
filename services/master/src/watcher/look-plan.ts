/** What one look comes to: the jobs to submit, what is waited with and why, and what is remembered; pure. */
import type { ConfigView, Instance, Node, NodeUuid } from "@gannet/objects";
import type { WireOpcode } from "@gannet/opcodes";
import type { LiveState } from "../live-state/live-state-contract.ts";
import { liveValuesOf } from "../live-state/live-values.ts";
import { type Ailing, judgeInstances } from "./ailing-instances.ts";
import { copiesOn, groupsToVerify, rebootedNodes, wantsDisks } from "./disk-care.ts";
import type { PendingWork } from "./pending-work.ts";
import { haveExpired, tooSoon } from "./tries.ts";
import type { DeedAction, Tries, Wait, WatcherMemory } from "./watcher-memory.ts";

/** What a look sees. */
export interface Sight {
  readonly view: ConfigView;
  readonly live: Pick<LiveState, "node" | "instance">;
  readonly work: PendingWork;
  readonly memory: WatcherMemory;
  /** Names of instances that the look before found ailing: what one look sees may be the middle of something. */
  readonly ailingBefore: ReadonlySet<string>;
  /** Names of instances whose disks a verification has found inactive since the last look. */
  readonly inactive: readonly string[];
  readonly nowS: number;
  readonly verifyDisksS: number;
}

/** A job to be submitted. */
export interface Proposal {
  readonly action: DeedAction;
  /** Of the instance or group. */
  readonly name: string;
  readonly opcode: WireOpcode;
  readonly reason: string;
}

export interface LookPlan {
  readonly proposals: readonly Proposal[];
  readonly waits: readonly Wait[];
  /** With the tries that the proposals are. */
  readonly memory: WatcherMemory;
  readonly ailing: ReadonlySet<string>;
}

/** A guest that has run for so long has recovered, and what was tried for it is forgotten. */
const RECOVERED_S = 60 * 60;

export function planLook(sight: Sight): LookPlan {
  const { view, live, work, memory, nowS } = sight;
  const judgement = judgeInstances(view, liveValuesOf(live));
  const tries = new Map(triesThatCount(sight).map((tried) => [`${tried.action} ${tried.instance}`, tried]));
  const waits: Wait[] = judgement.leftAlone.map(({ instance, reason }) => waitOf(instance.name, reason));
  const proposals: Proposal[] = [];

  /** Propose it, or say why not. */
  const propose = (instance: Instance, proposal: Omit<Proposal, "name">, obstacle: string | undefined): boolean => {
    const { action } = proposal;
    const tried = tries.get(`${action} ${instance.name}`);
    const reason = obstacle ?? tooSoon(tried, nowS);
    if (reason !== undefined) {
      waits.push(waitOf(instance.name, reason));
      return false;
    }
    proposals.push({ ...proposal, name: instance.name });
    const count = (tried?.count ?? 0) + 1;
    tries.set(`${action} ${instance.name}`, { action, instance: instance.name, count, lastS: nowS });
    return true;
  };

  for (const { instance, remedy } of judgement.ailing) {
    const obstacle = sight.ailingBefore.has(instance.name) ? obstacleOf(view, work, instance) : "it was just found so";
    propose(instance, REMEDIES[remedy](instance), obstacle);
  }

  const bootIds = bootIdsOf(sight);
  const starting = new Set(judgement.ailing.map(({ instance }) => instance.name));
  const disksDue = dueDisks(sight, bootIds).filter((instance) => {
    // A start activates them.
    if (starting.has(instance.name)) return false;
    return !propose(instance, diskActivation(instance), diskObstacle(sight, instance));
  });

  const isVerificationDue = Math.abs(nowS - memory.verifiedDisksAtS) >= sight.verifyDisksS;
  if (isVerificationDue)
    for (const { name } of groupsToVerify(view)) {
      const pending = work.groups.get(`${VERIFY_DISKS} ${name}`);
      if (pending === undefined) proposals.push(verification(name));
      else waits.push({ kind: "group", name, reason: `job ${pending} verifies its disks` });
    }

  return {
    proposals,
    waits,
    ailing: starting,
    memory: {
      ...memory,
      tries: [...tries.values()],
      bootIds,
      disksDue: disksDue.map(({ name }) => name),
      verifiedDisksAtS: isVerificationDue ? nowS : memory.verifiedDisksAtS,
    },
  };
}

const VERIFY_DISKS = "OP_GROUP_VERIFY_DISKS";

const REMEDIES: Readonly<Record<Ailing["remedy"], (instance: Instance) => Omit<Proposal, "name">>> = {
  start: ({ name }) => ({
    action: "start",
    opcode: { OP_ID: "OP_INSTANCE_STARTUP", instance_name: name },
    reason: "it should run and does not",
  }),
  "note user shutdown": ({ name }) => ({
    action: "note user shutdown",
    opcode: { OP_ID: "OP_INSTANCE_SHUTDOWN", instance_name: name, admin_state_source: "user" },
    reason: "it was shut down from inside",
  }),
};

function diskActivation({ name }: Instance): Omit<Proposal, "name"> {
  return {
    action: "activate disks",
    opcode: { OP_ID: "OP_INSTANCE_ACTIVATE_DISKS", instance_name: name },
    reason: "its disks are not in use on all of its nodes",
  };
}

function verification(name: string): Proposal {
  const opcode = { OP_ID: VERIFY_DISKS, group_name: name, is_strict: false };
  return { action: "verify disks", name, opcode, reason: "as at each interval" };
}

const waitOf = (name: string, reason: string): Wait => ({ kind: "instance", name, reason });

/** Without what has expired, and what was tried for instances that have recovered, are gone or are not to run. */
function triesThatCount({ view, live, memory, nowS }: Sight): readonly Tries[] {
  return memory.tries.filter((tried) => {
    const instance = view.findInstance(tried.instance);
    if (instance === undefined || instance.adminState !== "up" || haveExpired(tried, nowS)) return false;
    const state = live.instance(instance.name, instance.primaryNode)?.state;
    return !(state?.status === "running" && state.uptimeSeconds >= RECOVERED_S);
  });
}

/** Why nothing is done with an instance now. */
function obstacleOf(view: ConfigView, work: PendingWork, instance: Instance): string | undefined {
  const job = work.everything ?? work.instances.get(instance.name) ?? work.nodes.get(instance.primaryNode);
  if (job !== undefined) return `job ${job} works on it or is about to`;
  const primary = view.nodes.get(instance.primaryNode);
  return primary?.drained ? `its primary node ${primary.name} is drained` : undefined;
}

function diskObstacle({ view, live, work }: Sight, instance: Instance): string | undefined {
  const away = nodesOf(view, instance).find(({ uuid, offline }) => offline || !live.node(uuid).reachable);
  return obstacleOf(view, work, instance) ?? (away && `its node ${away.name} is not there`);
}

function nodesOf(view: ConfigView, instance: Instance): readonly Node[] {
  return [instance.primaryNode, ...view.secondaryNodes(instance)].flatMap((uuid) => view.nodes.get(uuid) ?? []);
}

/** What is known of each node of the cluster, the newest first. */
function bootIdsOf({ view, live, memory }: Sight): Record<string, string> {
  return Object.fromEntries(
    [...view.nodes.keys()].flatMap((uuid) => {
      const bootId = live.node(uuid).node?.bootId || memory.bootIds[uuid];
      return bootId === undefined ? [] : [[uuid, bootId]];
    }),
  );
}

/** Instances whose disks are to be activated: left from before, found inactive, or with a copy on a node that rebooted. */
function dueDisks({ view, memory, inactive }: Sight, bootIds: Readonly<Record<string, string>>): readonly Instance[] {
  const copies = rebootedNodes(memory.bootIds, bootIds).flatMap((uuid) => copiesOn(view, uuid as NodeUuid));
  const names = new Set([...memory.disksDue, ...inactive, ...copies.map(({ name }) => name)]);
  return [...names].flatMap((name) => view.findInstance(name) ?? []).filter(wantsDisks);
}

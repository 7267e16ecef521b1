/** Roles of nodes and what changes them (spec/config.json, `node_roles`). */
import { OpPrereqError } from "@gannet/errors";
import type { Cluster, Node } from "./model.ts";

/** The letters that queries show. */
export const NODE_ROLES = ["M", "C", "D", "O", "R"] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

/** The words of the remote API's role resource. */
export const ROLE_WORDS = {
  M: "master",
  C: "master-candidate",
  D: "drained",
  O: "offline",
  R: "regular",
} as const satisfies Record<NodeRole, string>;
export type RoleWord = (typeof ROLE_WORDS)[NodeRole];

/** The three flags of which at most one is set, in the order they are shown. */
export const ROLE_FLAGS = ["masterCandidate", "drained", "offline"] as const;
export type RoleFlags = Pick<Node, (typeof ROLE_FLAGS)[number]>;

/** What each role is in flags; the master is a candidate. */
export const FLAGS_OF_ROLE: Readonly<Record<NodeRole, RoleFlags>> = {
  M: { masterCandidate: true, drained: false, offline: false },
  C: { masterCandidate: true, drained: false, offline: false },
  D: { masterCandidate: false, drained: true, offline: false },
  O: { masterCandidate: false, drained: false, offline: true },
  R: { masterCandidate: false, drained: false, offline: false },
};

const ROLE_OF_FLAG: Readonly<Record<keyof RoleFlags, NodeRole>> = { masterCandidate: "C", drained: "D", offline: "O" };

export function roleOf(cluster: Pick<Cluster, "masterNode">, node: Pick<Node, "uuid"> & RoleFlags): NodeRole {
  if (node.uuid === cluster.masterNode) return "M";
  const flag = ROLE_FLAGS.find((name) => node[name]);
  return flag === undefined ? "R" : ROLE_OF_FLAG[flag];
}

/** A request to change flags; absent ones stay. */
export type RoleChange = { readonly [K in keyof RoleFlags]?: boolean };

/** What the role words of the remote API ask for. The master's role moves by failover only. */
export const CHANGE_OF_WORD: Readonly<Record<Exclude<RoleWord, "master">, RoleChange>> = {
  "master-candidate": { masterCandidate: true },
  drained: { drained: true },
  offline: { offline: true },
  regular: { masterCandidate: false, drained: false, offline: false },
};

/**
 * The role a node has after a change of flags, before it may promote itself (see {@link promotesItself}).
 * Setting a flag clears the others; clearing a flag that is not set does nothing.
 * @param node - `masterCapable` as it will be
 * @throws OpPrereqError `wrong_input` on more than one flag or on the master, `wrong_state` when the node
 *   cannot have the role
 */
export function roleAfter(
  cluster: Pick<Cluster, "masterNode">,
  node: Pick<Node, "uuid" | "name" | "masterCapable"> & RoleFlags,
  change: RoleChange,
): NodeRole {
  const set = ROLE_FLAGS.filter((flag) => change[flag] === true);
  if (set.length > 1)
    throw new OpPrereqError("A node is one of master candidate, drained and offline: set one flag", "wrong_input");
  const present = roleOf(cluster, node);
  if (present === "M" && ROLE_FLAGS.some((flag) => change[flag] !== undefined))
    throw new OpPrereqError(`The role of the master node ${node.name} changes by failover only`, "wrong_input");
  const [flag] = set;
  const next = flag === undefined ? roleAfterClearing(present, change) : ROLE_OF_FLAG[flag];
  if (next === "C" && !node.masterCapable)
    throw new OpPrereqError(`Node ${node.name} cannot be a master candidate: it is not master capable`, "wrong_state");
  return next;
}

function roleAfterClearing(present: NodeRole, change: RoleChange): NodeRole {
  const flag = ROLE_FLAGS.find((name) => ROLE_OF_FLAG[name] === present);
  return flag !== undefined && change[flag] === false ? "R" : present;
}

/**
 * Whether a node that becomes regular becomes a master candidate instead: it came back from drained or
 * offline, or has become master capable, while there are fewer candidates than there should be. So asking
 * for regular may give a candidate, as in Ganeti.
 * @param candidates - master candidates without this node, the master among them
 */
export function promotesItself(
  transition: { readonly from: NodeRole; readonly to: NodeRole; readonly gainsMasterCapable: boolean },
  candidates: number,
  candidatePoolSize: number,
): boolean {
  if (transition.to !== "R") return false;
  const returns = transition.from === "D" || transition.from === "O";
  return (returns || transition.gainsMasterCapable) && candidates < candidatePoolSize;
}

/** Whether new instances may be placed on a node. */
export function takesInstances(node: Pick<Node, "drained" | "offline" | "vmCapable">): boolean {
  return !node.drained && !node.offline && node.vmCapable;
}

/** What a node becomes by a change of its role and parameters; pure. */
import { OpPrereqError } from "@gannet/errors";
import {
  type ConfigView,
  candidatePool,
  changedDiskState,
  changedHypervisorState,
  changedNodeParameters,
  FLAGS_OF_ROLE,
  filledNdparams,
  NODE_PARAMETERS,
  type Node,
  type NodeRole,
  type Parameters,
  type ParameterTable,
  promotesItself,
  ROLE_FLAGS,
  type RoleFlags,
  roleAfter,
  roleOf,
} from "@gannet/objects";
import type { NodeSetParams, Op } from "@gannet/opcodes";

export type SetParamsOp = Op<typeof NodeSetParams>;

export interface NodeChange {
  readonly node: Node;
  /** What of its row changes. */
  readonly fields: Partial<Node>;
  readonly leavesOffline: boolean;
  /** Other nodes are made candidates when too few are left. */
  readonly fillsPool: boolean;
  /** What is told of it, in the words of the opcode. */
  readonly results: [parameter: string, value: unknown][];
  readonly notes: readonly { readonly kind: "info" | "warning"; readonly text: string }[];
}

const WIRE_NAME: Readonly<Record<keyof RoleFlags, "master_candidate" | "drained" | "offline">> = {
  masterCandidate: "master_candidate",
  drained: "drained",
  offline: "offline",
};

const SETTINGS = [
  "master_candidate",
  "drained",
  "offline",
  "master_capable",
  "vm_capable",
  "secondary_ip",
  "ndparams",
  "hv_state",
  "disk_state",
  "powered",
] as const satisfies readonly (keyof SetParamsOp)[];

/** Whether the change may take a master candidate from the cluster, by what is asked for. */
export function mayDemote(op: SetParamsOp): boolean {
  return op.master_candidate === false || op.offline === true || op.drained === true || op.master_capable === false;
}

/**
 * Everything but the secondary address, which is looked at where the agents can be asked.
 * @throws OpPrereqError, TypeEnforcementError
 */
export function planNodeChange(view: ConfigView, node: Node, op: SetParamsOp): NodeChange {
  if (SETTINGS.every((name) => !isGiven(op[name])))
    throw new OpPrereqError("Nothing to change: pass at least one setting", "wrong_input");
  const notes: { kind: "info" | "warning"; text: string }[] = [];
  for (const flag of ROLE_FLAGS)
    if (op[WIRE_NAME[flag]] === false && !node[flag])
      notes.push({ kind: "info", text: `Ignoring request to unset flag ${WIRE_NAME[flag]}, already unset` });

  checkCapabilities(view, node, op);
  const states = changedStates(node, op);
  const from = roleOf(view.cluster, node);
  const to = nextRole(view, node, op, from);
  if (to.promoted) notes.push({ kind: "info", text: "Auto-promoting node to master candidate" });
  const leavesPool = node.masterCandidate && !FLAGS_OF_ROLE[to.role].masterCandidate;
  if (leavesPool) {
    if (op.master_capable === false) notes.push({ kind: "info", text: "Demoting from master candidate" });
    checkPool(view, node, op);
  }
  const leavesOffline = node.offline && to.role !== "O";
  checkPower(view, { ...node, ...states }, { powered: op.powered, leavesOffline });
  if (leavesOffline)
    notes.push({
      kind: "warning",
      text: `Node ${node.name} comes back from offline without being readded; see that it is healthy`,
    });

  const flags = FLAGS_OF_ROLE[to.role];
  return {
    node,
    leavesOffline,
    fillsPool: leavesPool && op.auto_promote,
    notes,
    fields: {
      ...states,
      ...flags,
      ...(isGiven(op.powered) ? { powered: op.powered } : {}),
      ...(isGiven(op.master_capable) ? { masterCapable: op.master_capable } : {}),
      ...(isGiven(op.vm_capable) ? { vmCapable: op.vm_capable } : {}),
      ...(isGiven(op.secondary_ip) ? { secondaryIp: op.secondary_ip } : {}),
    },
    results: [
      ...Object.entries(op.ndparams ?? {}).map(([name, value]): [string, unknown] => [`ndparams/${name}`, value]),
      ...given(op, "hv_state", "disk_state"),
      ...given(op, "powered", "master_capable", "vm_capable").map(([name, value]): [string, unknown] => [
        name,
        pythonWord(value === true),
      ]),
      ...given(op, "secondary_ip"),
      ...ROLE_FLAGS.filter((flag) => flags[flag] !== node[flag]).map((flag): [string, unknown] => [
        WIRE_NAME[flag],
        pythonWord(flags[flag]),
      ]),
    ],
  };
}

const isGiven = <T>(value: T): value is NonNullable<T> => value !== null && value !== undefined;

function given(op: SetParamsOp, ...names: (keyof SetParamsOp)[]): [string, unknown][] {
  return names.filter((name) => isGiven(op[name])).map((name) => [name, op[name]]);
}

/** Clients show these results as text, which Ganeti answers for switches. */
const pythonWord = (value: boolean): string => (value ? "True" : "False");

function checkCapabilities(view: ConfigView, node: Node, op: SetParamsOp): void {
  if (op.master_capable === false && node.uuid === view.cluster.masterNode)
    throw new OpPrereqError(
      `Node ${node.name} is the master: it stays master capable; let another node be master first`,
      "wrong_input",
    );
  const instances = [...view.primaryInstances(node.uuid), ...view.secondaryInstances(node.uuid)];
  if (op.vm_capable === false && instances.length > 0)
    throw new OpPrereqError(
      `Node ${node.name} hosts instances (${instances.map(({ name }) => name).join(", ")}): ` +
        "vm_capable cannot be cleared before they are evacuated",
      "wrong_state",
    );
}

function changedStates(node: Node, op: SetParamsOp): Partial<Pick<Node, "ndparams" | "hvState" | "diskState">> {
  return {
    ...(isGiven(op.ndparams) ? { ndparams: ownNdparams(node.ndparams, op.ndparams) } : {}),
    ...(isGiven(op.hv_state) ? { hvState: changedHypervisorState(node.hvState, op.hv_state) } : {}),
    ...(isGiven(op.disk_state) ? { diskState: changedDiskState(node.diskState, op.disk_state) } : {}),
  };
}

/**
 * A node's own parameters after a change.
 * @throws OpPrereqError (wrong_input), TypeEnforcementError
 */
export function ownNdparams(current: Parameters, changes: Parameters): Parameters {
  const table: ParameterTable = NODE_PARAMETERS;
  const global = Object.keys(changes).filter((name) => Object.hasOwn(table, name) && table[name]?.global);
  if (global.length > 0)
    throw new OpPrereqError(
      `These node parameters are the cluster's and its groups': ${global.join(", ")}; change them there`,
      "wrong_input",
    );
  return changedNodeParameters(current, changes);
}

function nextRole(
  view: ConfigView,
  node: Node,
  op: SetParamsOp,
  from: NodeRole,
): { readonly role: NodeRole; readonly promoted: boolean } {
  const masterCapable = op.master_capable ?? node.masterCapable;
  const candidate = op.master_candidate ?? (node.masterCandidate && !masterCapable ? false : undefined);
  const asked = roleAfter(
    view.cluster,
    { ...node, masterCapable },
    {
      ...(candidate === undefined ? {} : { masterCandidate: candidate }),
      ...(isGiven(op.drained) ? { drained: op.drained } : {}),
      ...(isGiven(op.offline) ? { offline: op.offline } : {}),
    },
  );
  if (!masterCapable) return { role: asked, promoted: false };
  const transition = { from, to: asked, gainsMasterCapable: op.master_capable === true && !node.masterCapable };
  const { candidates } = candidatePool(view.cluster, view.nodes.values(), [node.uuid]);
  const promoted = promotesItself(transition, candidates, view.cluster.candidatePoolSize);
  return { role: promoted ? "C" : asked, promoted };
}

function checkPool(view: ConfigView, node: Node, op: SetParamsOp): void {
  const { candidates, wanted } = candidatePool(view.cluster, view.nodes.values(), [node.uuid]);
  if (op.auto_promote || candidates >= wanted) return;
  throw new OpPrereqError(
    `Without ${node.name} there are ${candidates} master candidates of the ${wanted} that there should be; ` +
      "auto_promote lets other nodes become candidates",
    "wrong_state",
  );
}

function checkPower(
  view: ConfigView,
  node: Node,
  asked: { readonly powered: boolean | null | undefined; readonly leavesOffline: boolean },
): void {
  const { powered, leavesOffline } = asked;
  const program = oobProgramOf(view, node);
  if (program === "" && isGiven(powered))
    throw new OpPrereqError(
      `Whether ${node.name} has power cannot be noted: it has no out-of-band program (node parameter oob_program)`,
      "wrong_state",
    );
  if (program !== "" && leavesOffline && !(powered ?? node.powered))
    throw new OpPrereqError(
      `Node ${node.name} is powered off: turn it on before it is brought back from offline`,
      "wrong_state",
    );
}

/** Path of the program that switches the node's power; empty when there is none. */
export function oobProgramOf(view: ConfigView, node: Node): string {
  const group = view.groups.get(node.group);
  return String(filledNdparams(view.cluster, group ?? { ndparams: {} }, node).oob_program ?? "");
}

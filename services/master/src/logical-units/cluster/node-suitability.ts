/** What only the nodes can tell of a change of the cluster's parameters. Changes nothing. */
import { randomUUID } from "node:crypto";
import { NodeUnreachable, OpPrereqError } from "@gannet/errors";
import { type Cluster, type HypervisorName, inheritedHvparams, type Node } from "@gannet/objects";
import { encodeParameters, type Instance as InstanceMessage } from "@gannet/rpc";
import { BUILT_IN_ALLOCATOR } from "../../allocator/allocator-choice.ts";
import type { PrereqContext } from "../../executor/context.ts";
import type { SetParamsOp } from "./cluster-changes.ts";
import { changedHypervisors } from "./cluster-consequences.ts";

export interface NodeFindings {
  /** Why a node cannot do what it would have to. */
  readonly reasons: readonly string[];
  /** Nodes that could not be asked, and what was wrong before. */
  readonly warnings: readonly string[];
}

/** What a node is not asked to verify. */
const NOTHING = {
  files: [],
  executables: [],
  bridges: [],
  fileStorage: [],
  masterAddressScript: false,
  allocators: [],
};

/**
 * An allocator that is to be the default is ours, or a program on the master's node.
 * @throws OpPrereqError (wrong_input)
 */
export async function refuseUnknownAllocator(
  ctx: PrereqContext,
  { default_iallocator: name }: SetParamsOp,
): Promise<void> {
  if (!name || name === BUILT_IN_ALLOCATOR) return;
  const { node } = ctx.node(ctx.config.cluster.masterNode);
  const { problems } = await node.verify({ ...NOTHING, allocators: [name] }, { signal: ctx.signal });
  const found = problems.find(({ check }) => check === "allocator");
  if (found !== undefined)
    throw new OpPrereqError(`Invalid default iallocator '${name}' specified: ${found.problem}`, "wrong_input");
}

type Question = (ctx: PrereqContext, node: Node) => Promise<readonly string[]>;

/**
 * Ask all nodes that hold instances, at once. A node that cannot be reached is told of and holds nothing up: it would
 * keep an operator from repairing the cluster.
 * @param next - the row that `op` would make of the present one
 */
export async function nodeFindings(ctx: PrereqContext, op: SetParamsOp, next: Cluster): Promise<NodeFindings> {
  const questions = questionsOf(ctx, op, next);
  const nodes = [...ctx.config.nodes.values()]
    .filter((node) => node.vmCapable && !node.offline)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (questions.length === 0) return { reasons: [], warnings: [] };
  const found = await Promise.all(
    nodes.map(async (node): Promise<NodeFindings> => {
      try {
        const reasons = await Promise.all(questions.map((question) => question(ctx, node)));
        return { reasons: reasons.flat().map((reason) => `Node ${node.name}: ${reason}`), warnings: [] };
      } catch (error) {
        if (!(error instanceof NodeUnreachable)) throw error;
        return { reasons: [], warnings: [`Node ${node.name} was not asked: ${error.message}`] };
      }
    }),
  );
  return { reasons: found.flatMap(({ reasons }) => reasons), warnings: found.flatMap(({ warnings }) => warnings) };
}

function questionsOf({ config }: PrereqContext, op: SetParamsOp, next: Cluster): readonly Question[] {
  const { cluster } = config;
  const added = <T>(before: readonly T[], after: readonly T[]) => after.filter((each) => !before.includes(each));
  const newFolders = (
    [
      ["file", cluster.fileStorageDir, next.fileStorageDir],
      ["sharedfile", cluster.sharedFileStorageDir, next.sharedFileStorageDir],
    ] as const
  ).filter(([template, before, after]) => before !== after && next.enabledDiskTemplates.includes(template));
  const groupIsNew = next.volumeGroupName !== "" && next.volumeGroupName !== cluster.volumeGroupName;
  const helperIsNew = next.drbdUsermodeHelper !== "" && next.drbdUsermodeHelper !== cluster.drbdUsermodeHelper;
  const hypervisors = changedHypervisors(op).filter((name) => next.enabledHypervisors.includes(name));
  const newHypervisors = added(cluster.enabledHypervisors, next.enabledHypervisors);
  return [
    ...(groupIsNew ? [hasVolumeGroup(next.volumeGroupName)] : []),
    ...(helperIsNew ? [hasDrbdHelper(next.drbdUsermodeHelper)] : []),
    ...(newFolders.length > 0 ? [hasFolders(newFolders.map(([template, , path]) => ({ template, path })))] : []),
    ...hypervisors
      .filter((name) => newHypervisors.includes(name) || op.hvparams?.[name] !== undefined)
      .map((name) => takesHvparams(name, next, newHypervisors.includes(name) ? null : cluster)),
    ...Object.keys(op.osparams ?? {}).map((os) => takesOsparams(os, next)),
  ];
}

function hasVolumeGroup(name: string): Question {
  return async (ctx, node) => {
    const { storage } = await ctx.node(node.uuid).node.describe({ knownStorage: false }, { signal: ctx.signal });
    const present = storage.some((unit) => unit.type === "lvm-vg" && unit.name === name);
    return present ? [] : [`there is no volume group ${name}`];
  };
}

function hasDrbdHelper(helper: string): Question {
  return async (ctx, node) => {
    const { usermodeHelper, problem } = await ctx.node(node.uuid).storage.describeDrbd({}, { signal: ctx.signal });
    if (problem !== "") return [`DRBD cannot be used: ${problem}`];
    return usermodeHelper === helper ? [] : [`DRBD's usermode helper is '${usermodeHelper}', not '${helper}'`];
  };
}

function hasFolders(folders: readonly { readonly template: string; readonly path: string }[]): Question {
  return async (ctx, node) => {
    const request = { ...NOTHING, fileStorage: [...folders] };
    const { problems } = await ctx.node(node.uuid).node.verify(request, { signal: ctx.signal });
    return problems.filter(({ check }) => check === "file-storage").map(({ item, problem }) => `${item}: ${problem}`);
  };
}

/** @param before - the cluster that already had the hypervisor: what was wrong with it then is no reason now */
function takesHvparams(hypervisor: HypervisorName, next: Cluster, before: Cluster | null): Question {
  return async (ctx, node) => {
    const problemWith = (cluster: Cluster) =>
      complaintOf(() =>
        ctx.node(node.uuid).instances.validate({ instance: sampleGuest(hypervisor, cluster) }, { signal: ctx.signal }),
      );
    const problem = await problemWith(next);
    if (problem === undefined) return [];
    const known = before === null ? undefined : await problemWith(before);
    return problem === known ? [] : [`parameters of ${hypervisor}: ${problem}`];
  };
}

/** A guest without any device, to have the parameters looked at that all guests of a hypervisor inherit. */
function sampleGuest(hypervisor: HypervisorName, cluster: Cluster): InstanceMessage {
  const hvparams = encodeParameters(inheritedHvparams(cluster, hypervisor, null));
  const memory = { maxMemoryMib: 128, startMemoryMib: 128, vcpus: 1 };
  const nothing = { disks: [], nics: [], tags: [], networkPort: 0 };
  const uidPool = cluster.uidPool.map(([first, last]) => ({ first, last }));
  return { name: `any.${hypervisor}`, uuid: randomUUID(), hypervisor, hvparams, uidPool, ...memory, ...nothing };
}

/** Only nodes that have the definition can tell; elsewhere it may come later. */
function takesOsparams(os: string, next: Cluster): Question {
  return async (ctx, node) => {
    const name = os.split("+")[0] ?? os;
    if (!ctx.live.node(node.uuid).os.some((definition) => definition.name === name && definition.valid)) return [];
    const own = { ...next.osparams[name], ...next.osparams[os] };
    const parameters = Object.fromEntries(Object.entries(own).map(([key, value]) => [key, String(value ?? "")]));
    const request = { os, forceVariant: true, parameters, runVerifyScript: true };
    const problem = await complaintOf(() => ctx.node(node.uuid).os.validate(request, { signal: ctx.signal }));
    return problem === undefined ? [] : [`parameters of OS ${os}: ${problem}`];
  };
}

async function complaintOf(ask: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await ask();
    return undefined;
  } catch (error) {
    if (error instanceof NodeUnreachable || !(error instanceof Error)) throw error;
    return error.message;
  }
}

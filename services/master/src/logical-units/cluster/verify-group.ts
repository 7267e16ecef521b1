import {
  type ConfigView,
  DISK_TEMPLATE_TRAITS,
  type Instance,
  type Node,
  type NodeGroup,
  roleOf,
} from "@gannet/objects";
import { ClusterVerifyGroup, type Op } from "@gannet/opcodes";
import { isRunning, statusOfInstance } from "@gannet/query";
import type { ExecContext } from "../../executor/context.ts";
import { shared } from "../../executor/lock-wishes.ts";
import { implement } from "../../executor/logical-unit.ts";
import { masterHooks } from "../../hooks/cluster-hooks.ts";
import { liveValuesOf } from "../../live-state/live-values.ts";
import type { InspectedDisk } from "../group/disk-inspection.ts";
import { knownGroup } from "../group/lookups.ts";
import { fileChecks } from "./file-checks.ts";
import {
  drbdVersionChecks,
  exclusionTagChecks,
  osChecks,
  physicalVolumeCheck,
  redundancyChecks,
  unknownGuestChecks,
} from "./group-checks.ts";
import { instanceChecks } from "./instance-checks.ts";
import { nodeChecks } from "./node-checks.ts";
import { type NodeEvidence, nodeEvidence } from "./node-evidence.ts";
import { VerificationReport } from "./verification-report.ts";

export const clusterVerifyGroup = implement(ClusterVerifyGroup, {
  locks(op, view) {
    const group = view.findGroup(op.group_name);
    if (group === undefined) return [];
    const { instances, members, others } = scopeOf(view, group);
    return [
      ...instances.map(({ name }) => shared.instance(name)),
      shared.nodegroup(group.uuid),
      ...[...members, ...others].map(({ uuid }) => shared.node(uuid)),
    ];
  },

  checkPrereq: ({ config }, op) => knownGroup(config, op.group_name),

  hooks(view, _op, group) {
    const nodes = view.nodesOf(group.uuid);
    const tags = Object.fromEntries(nodes.map((node) => [`NODE_TAGS_${node.name}`, node.tags]));
    const where = { pre: [], post: nodes.map(({ uuid }) => uuid) };
    return masterHooks(view, "cluster-verify", "CLUSTER", { CLUSTER_TAGS: view.cluster.tags, ...tags }, where);
  },

  async exec(ctx, op, group) {
    const report = new VerificationReport(ctx.feedback, op);
    const { instances, members, others } = scopeOf(ctx.config, group);
    report.section(`Verifying group '${group.name}'`);
    const asked = [...members, ...others].filter(({ offline }) => !offline);
    report.section(`Gathering data (${asked.length} nodes)`);
    const hvparams = !op.skip_checks.includes("hvparam_assessment");
    const evidence = await Promise.all(asked.map((node) => nodeEvidence(ctx, node, instances, { hvparams })));
    const own = evidence.filter(({ node }) => node.group === group.uuid);
    reportNodes(ctx, report, members, own);
    reportInstances(ctx, report, instances, evidence);
    reportGroup(ctx, report, op, group, own);
    tellNotes(ctx, report, op, { instances, members });
    return report.ok;
  },

  /** What hooks have to say against the group is a finding as any other. */
  afterHooks(ctx, op, ok, failures) {
    const report = new VerificationReport(ctx.feedback, op);
    report.section("Hooks Results");
    report.take(
      failures.map(({ node, script, problem }) => ({
        ...{ code: "ENODEHOOKS", item: node, ok: false },
        text:
          script === null
            ? `Communication failure in hooks execution: ${problem}`
            : `Script ${script} failed, output: ${problem}`,
      })),
    );
    return ok && report.ok;
  },
});

/** Instances that have, or are to have, their guest in the group, its nodes, and the nodes elsewhere that hold their disks. */
function scopeOf(view: ConfigView, group: NodeGroup) {
  const members = view.nodesOf(group.uuid);
  const instances = members
    .flatMap(({ uuid }) => view.primaryInstances(uuid))
    .filter(({ forthcoming }) => !forthcoming)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const outside = instances
    .flatMap((instance) => view.secondaryNodes(instance))
    .flatMap((uuid) => view.nodes.get(uuid) ?? []);
  return { instances, members, others: [...new Set(outside.filter((node) => node.group !== group.uuid))] };
}

function reportNodes(
  ctx: ExecContext,
  report: VerificationReport,
  members: readonly Node[],
  own: readonly NodeEvidence[],
): void {
  const view = ctx.config;
  report.section("Verifying node status");
  for (const node of members) {
    if (node.offline) report.detail(`Skipping offline node ${node.name}`);
    const evidence = own.find((each) => each.node.uuid === node.uuid);
    if (evidence === undefined) continue;
    report.detail(`Verifying node ${node.name} (${ROLE_NAMES[roleOf(view.cluster, node)]})`);
    report.take(nodeChecks(view, evidence));
    const { reachable, instances } = ctx.live.node(node.uuid);
    const guests = [...instances.values()].filter((state) => isRunning(state as Seen)).map(({ name }) => name);
    if (reachable) report.take(unknownGuestChecks(view, node, guests));
  }
}

type Seen = Parameters<typeof isRunning>[0];
const ROLE_NAMES = { M: "master", C: "master candidate", D: "drained", O: "offline", R: "regular" } as const;

function reportInstances(
  ctx: ExecContext,
  report: VerificationReport,
  instances: readonly Instance[],
  evidence: readonly NodeEvidence[],
): void {
  const view = ctx.config;
  report.section("Verifying instance status");
  const disks = new Map<Instance["uuid"], InspectedDisk[]>();
  for (const disk of evidence.flatMap((each) => (each.failure === null ? each.disks : [])))
    disks.set(disk.instance.uuid, [...(disks.get(disk.instance.uuid) ?? []), disk]);
  for (const instance of instances) {
    report.detail(`Verifying instance ${instance.name}`);
    report.take(
      instanceChecks(view, instance, {
        status: statusOfInstance(view, liveValuesOf(ctx.live), instance),
        seenElsewhere: nodesThatRun(ctx, instance),
        disks: disks.get(instance.uuid) ?? [],
      }),
    );
  }
}

function nodesThatRun(ctx: ExecContext, { name, primaryNode }: Instance): readonly string[] {
  return [...ctx.config.nodes.values()]
    .filter(({ uuid }) => uuid !== primaryNode)
    .filter(({ uuid }) => {
      const { reachable, instances } = ctx.live.node(uuid);
      const state = instances.get(name);
      return reachable && state !== undefined && isRunning(state as Seen);
    })
    .map((node) => node.name);
}

function reportGroup(
  ctx: ExecContext,
  report: VerificationReport,
  op: Op<typeof ClusterVerifyGroup>,
  group: NodeGroup,
  own: readonly NodeEvidence[],
): void {
  const view = ctx.config;
  const answered = own.filter((each): each is Extract<NodeEvidence, { failure: null }> => each.failure === null);
  report.section("Verifying node group");
  report.take(drbdVersionChecks(answered));
  report.take(physicalVolumeCheck(group, answered));
  report.take(fileChecks(answered));
  const withOs = answered.map(({ node }) => node).filter(({ vmCapable }) => vmCapable);
  report.take(osChecks(withOs.map((node) => ({ node, os: ctx.live.node(node.uuid).os }))));
  report.take(
    exclusionTagChecks(
      view,
      own.map(({ node }) => node),
    ),
  );
  if (op.skip_checks.includes("nplusone_mem")) return;
  report.section("Verifying N+1 Memory redundancy");
  report.take(redundancyChecks(view, answered));
}

function tellNotes(
  ctx: ExecContext,
  report: VerificationReport,
  op: Op<typeof ClusterVerifyGroup>,
  { instances, members }: { readonly instances: readonly Instance[]; readonly members: readonly Node[] },
): void {
  report.section("Other Notes");
  const counts = [
    [
      instances.filter(({ diskTemplate }) => DISK_TEMPLATE_TRAITS[diskTemplate].mirroring === "none").length,
      "non-redundant instance(s)",
    ],
    [instances.filter(({ adminState }) => adminState === "offline").length, "offline instance(s)"],
    [members.filter(({ offline }) => offline).length, "offline node(s)"],
    [members.filter(({ drained }) => drained).length, "drained node(s)"],
  ] as const;
  for (const [count, what] of counts) if (count > 0) report.notice(`${count} ${what} found.`);
  if (op.verify_clutter) ctx.feedback.info("Nodes hold no SSH keys of the cluster, so there is no clutter to look for");
}

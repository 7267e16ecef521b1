/** An instance that is made from an export: where the export is, and what it says of the instance. */
import path from "node:path";
import { NodeUnreachable, OpPrereqError } from "@gannet/errors";
import { type ConfigView, GLOBAL_HYPERVISOR_PARAMETERS, type Instance, type Node } from "@gannet/objects";
import type { InstanceCreate, Op } from "@gannet/opcodes";
import type { ExecContext, PrereqContext } from "../../executor/context.ts";
import { type ExportSections, readDescription } from "../backup/export-description.ts";
import type { PlacedDisk } from "./disk-ends.ts";
import { knownNode } from "./lookups.ts";
import { blockDeviceMessage } from "./messages.ts";
import { osScriptRequest } from "./os-request.ts";
import { copyContents } from "./transfer-steps.ts";

type CreateOp = Op<typeof InstanceCreate>;

/** An export on one node. */
export interface ImportSource {
  readonly kind: "export";
  readonly node: Node;
  /** What its node knows it by: an instance's name or an absolute path. */
  readonly name: string;
  readonly sections: ExportSections;
}

/**
 * Find the export and read its description. Without a node every node is asked for it.
 * @throws OpPrereqError: wrong_input without a place, unknown_entity when no node has it
 */
export async function findExport(ctx: PrereqContext, op: CreateOp): Promise<ImportSource> {
  const name = op.src_path ?? op.instance_name;
  const asked = op.src_node_uuid ?? op.src_node ?? null;
  if (asked === null && path.isAbsolute(name))
    throw new OpPrereqError(
      "An export that is named by its full path needs the node it is on (src_node)",
      "wrong_input",
    );
  if (asked !== null) {
    const node = knownNode(ctx.config, asked);
    const { description } = await ctx.node(node.uuid).transfers.exportInfo({ export: name }, { signal: ctx.signal });
    return { kind: "export", node, name, sections: readDescription(description) };
  }
  const silent: string[] = [];
  for (const node of ctx.config.nodes.values()) {
    if (node.offline) continue;
    const names = await exportsOn(ctx, node);
    if (names === undefined) silent.push(node.name);
    if (names?.includes(name) !== true) continue;
    const { description } = await ctx.node(node.uuid).transfers.exportInfo({ export: name }, { signal: ctx.signal });
    return { kind: "export", node, name, sections: readDescription(description) };
  }
  const unasked = silent.length === 0 ? "" : `; these did not answer: ${silent.join(", ")}`;
  throw new OpPrereqError(`No node has an export ${name}${unasked}`, "unknown_entity");
}

/** Undefined when the node cannot be reached, which is no reason to fail where another has the export. */
async function exportsOn(ctx: PrereqContext, node: Node): Promise<readonly string[] | undefined> {
  try {
    return (await ctx.node(node.uuid).transfers.listExports({}, { signal: ctx.signal })).instanceNames;
  } catch (error) {
    if (error instanceof NodeUnreachable) return undefined;
    throw error;
  }
}

/** The nodes that an import's export may be on. */
export function exportNodes(view: ConfigView, op: CreateOp): readonly Node[] {
  const asked = op.src_node_uuid ?? op.src_node ?? null;
  if (asked === null) return [...view.nodes.values()];
  const node = view.findNode(asked);
  return node === undefined ? [] : [node];
}

/**
 * The request with what it leaves out taken from the export's description. Pure.
 * @throws OpPrereqError (wrong_input) when the export has more disks than are asked for
 */
export function withDescription(op: CreateOp, { export: about = {}, ...sections }: ExportSections): CreateOp {
  const { instance = {}, hypervisor: hvparams = {}, backend = {}, os: osparams = {} } = sections;
  const disks = Array.from({ length: count(instance.disk_count) }, (_, index) => ({
    size: count(instance[`disk${index}_size`]),
    ...named(instance[`disk${index}_name`]),
  }));
  if (op.disks.length > 0 && op.disks.length < disks.length)
    throw new OpPrereqError(
      `The export has ${disks.length} disks, and ${op.disks.length} are asked for`,
      "wrong_input",
    );
  const keepsMacs = instance.name === op.instance_name;
  const nics = Array.from({ length: count(instance.nic_count) }, (_, index) => ({
    ...(keepsMacs ? given("mac", instance[`nic${index}_mac`]) : {}),
    ...given("ip", instance[`nic${index}_ip`]),
    ...attachmentOf(instance, index),
    ...named(instance[`nic${index}_name`]),
  }));
  const hypervisor = op.hypervisor ?? (instance.hypervisor as CreateOp["hypervisor"]) ?? null;
  const own = Object.entries(hvparams).filter(([name]) => !GLOBAL_HYPERVISOR_PARAMETERS.has(name));
  return {
    ...op,
    os_type: op.os_type ?? about.os ?? null,
    disk_template: op.disk_template ?? (instance.disk_template as CreateOp["disk_template"]) ?? null,
    disks: op.disks.length > 0 ? op.disks : disks,
    nics: op.nics.length > 0 ? op.nics : (nics as CreateOp["nics"]),
    tags: op.tags.length > 0 ? op.tags : (instance.tags ?? "").split(" ").filter((tag) => tag !== ""),
    hypervisor,
    hvparams: hypervisor === instance.hypervisor ? { ...Object.fromEntries(own), ...op.hvparams } : op.hvparams,
    beparams: { ...withoutOlderMemory(backend), ...op.beparams },
    osparams: { ...osparams, ...op.osparams },
  };
}

/** `memory` stands for both bounds, which are there themselves. */
function withoutOlderMemory({
  memory,
  ...backend
}: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return "maxmem" in backend || memory === undefined ? backend : { ...backend, memory };
}

function count(text: string | undefined): number {
  return /^\d{1,9}$/.test(text ?? "") ? Number(text) : 0;
}

/** Ganeti writes `None` for what is not set. */
/** What a NIC is connected to: its network, which says how, or how by itself. */
function attachmentOf(instance: Readonly<Record<string, string>>, index: number): Readonly<Record<string, string>> {
  const network = given("network", instance[`nic${index}_network`]);
  if (network.network !== undefined) return network;
  return {
    ...given("mode", instance[`nic${index}_mode`]),
    ...given("link", instance[`nic${index}_link`]),
    ...given("vlan", instance[`nic${index}_vlan`]),
  };
}

function given(key: string, value: string | undefined): Readonly<Record<string, string>> {
  return value === undefined || value === "" || value === "None" ? {} : { [key]: value };
}

function named(name: string | undefined): Readonly<Record<string, string>> {
  return given("name", name);
}

/** Fill the new disks from the export: by the OS definition's import script, or as they are without an OS. */
export async function importDisks(
  ctx: ExecContext,
  instance: Instance,
  disks: readonly PlacedDisk[],
  source: ImportSource,
  { parameters, compress }: { readonly parameters: Readonly<Record<string, string>>; readonly compress: string },
): Promise<void> {
  const view = ctx.config;
  const primary = knownNode(view, instance.primaryNode);
  for (const { index, disk } of disks) {
    const dump = source.sections.instance?.[`disk${index}_dump`];
    if (dump === undefined || dump === "" || dump === "None") {
      ctx.feedback.info(`The export has nothing of disk/${index}`);
      continue;
    }
    ctx.feedback.step(`importing disk/${index} from ${source.node.name}`);
    const device = blockDeviceMessage(view, instance, disk, index, primary.uuid);
    const request = { ...osScriptRequest(view, instance, parameters), step: undefined };
    await copyContents(ctx, {
      instanceName: instance.name,
      component: `import${index}`,
      compress,
      from: {
        node: source.node,
        end: { end: { $case: "file", value: { instanceName: source.name, file: path.basename(dump) } } },
      },
      to: {
        node: primary,
        end:
          instance.os === ""
            ? { end: { $case: "disk", value: { device } } }
            : { end: { $case: "script", value: { instance: request, device, index } } },
      },
    });
  }
}

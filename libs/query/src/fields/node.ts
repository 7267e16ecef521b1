/** Fields of nodes. */
import type { ConfigView, Node, NodeGroup, Parameters } from "@gannet/objects";
import { DISK_TEMPLATE_TRAITS, filledNdparams, roleOf } from "@gannet/objects";
import type { Field } from "../field.ts";
import { live, optional, stampFields, stored } from "../field.ts";
import type { LiveNode, LiveStorage, LiveValues } from "../live-values.ts";
import type { Cell } from "../result-status.ts";
import { available, NO_DATA, normal, OFFLINE, UNAVAILABLE } from "../result-status.ts";
import { ndparamFields } from "./ndparams.ts";

/** One node with what its fields come from; shared values are computed once. */
export class NodeContext {
  readonly node: Node;
  readonly view: ConfigView;
  readonly #live: LiveValues;
  #ndparams: Parameters | undefined;
  #report: LiveNode | null | undefined;

  constructor(node: Node, view: ConfigView, liveValues: LiveValues) {
    this.node = node;
    this.view = view;
    this.#live = liveValues;
  }

  get group(): NodeGroup | undefined {
    return this.view.groups.get(this.node.group);
  }

  get ndparams(): Parameters {
    this.#ndparams ??= filledNdparams(this.view.cluster, this.group ?? { ndparams: {} }, this.node);
    return this.#ndparams;
  }

  /** A value of the node's report, or why there is none. */
  reported(value: (report: LiveNode) => unknown): Cell {
    if (this.node.offline) return OFFLINE;
    if (!this.node.vmCapable) return UNAVAILABLE;
    if (this.#report === undefined) this.#report = this.#live.node(this.node.uuid) ?? null;
    return this.#report === null ? NO_DATA : available(value(this.#report));
  }

  /**
   * The storage that new instances are placed by: that of the first enabled template which has any. Of volume groups
   * it is the cluster's own.
   */
  mainStorage(report: LiveNode): LiveStorage | undefined {
    const { enabledDiskTemplates, volumeGroupName } = this.view.cluster;
    for (const template of enabledDiskTemplates) {
      const { storageType, usesLvm } = DISK_TEMPLATE_TRAITS[template];
      const unit = report.storage.find(
        ({ type, name }) => type === storageType && (!usesLvm || name === volumeGroupName),
      );
      if (unit !== undefined) return unit;
    }
    return report.storage.find(({ type }) => type !== "lvm-pv");
  }

  /** Physical volumes of the cluster's volume group, counted where exclusive storage gives each disk its own. */
  spindles(report: LiveNode): LiveStorage | undefined {
    if (this.ndparams.exclusive_storage !== true) return undefined;
    const { volumeGroupName } = this.view.cluster;
    return report.storage.find(({ type, name }) => type === "lvm-pv" && name === volumeGroupName);
  }

  primaryInstanceNames(): readonly string[] {
    return this.view.primaryInstances(this.node.uuid).map(({ name }) => name);
  }

  secondaryInstanceNames(): readonly string[] {
    return this.view.secondaryInstances(this.node.uuid).map(({ name }) => name);
  }
}

export const NODE_FIELDS: readonly Field<NodeContext>[] = [
  stored("name", "Node", "text", "Name of the node", ({ node }) => node.name, { match: "host" }),
  stored("drained", "Drained", "bool", "Whether the node takes no new instances", ({ node }) => node.drained),
  stored("master_candidate", "MasterC", "bool", "Whether it may become master", ({ node }) => node.masterCandidate),
  stored("master_capable", "MasterCapable", "bool", "Whether it can be a candidate", ({ node }) => node.masterCapable),
  stored("offline", "Offline", "bool", "Whether the node is marked offline", ({ node }) => node.offline),
  stored("vm_capable", "VMCapable", "bool", "Whether it can host instances", ({ node }) => node.vmCapable),
  stored("pip", "PrimaryIP", "text", "Primary address", ({ node }) => node.primaryIp),
  stored("sip", "SecondaryIP", "text", "Secondary address", ({ node }) => node.secondaryIp),
  stored(
    "master",
    "IsMaster",
    "bool",
    "Whether it is the master",
    ({ node, view }) => node.uuid === view.cluster.masterNode,
  ),
  optional("group", "Group", "text", "Name of its node group", ({ group }) => available(group?.name)),
  stored("group.uuid", "GroupUUID", "text", "UUID of its node group", ({ node }) => node.group),
  stored("ndparams", "NodeParameters", "other", "Node parameters, with inherited ones", (row) => row.ndparams),
  stored("custom_ndparams", "CustomNodeParameters", "other", "The node's own parameters", ({ node }) => node.ndparams),
  stored(
    "pinst_cnt",
    "Pinst",
    "number",
    "Number of instances it is primary for",
    ({ node, view }) => view.primaryInstances(node.uuid).length,
  ),
  stored(
    "sinst_cnt",
    "Sinst",
    "number",
    "Number of instances it is secondary for",
    ({ node, view }) => view.secondaryInstances(node.uuid).length,
  ),
  stored("pinst_list", "PriInstances", "other", "Instances it is primary for", (row) => row.primaryInstanceNames()),
  stored("sinst_list", "SecInstances", "other", "Instances it is secondary for", (row) => row.secondaryInstanceNames()),
  stored(
    "role",
    "Role",
    "text",
    "Role of the node: M master, C master candidate, R regular, D drained, O offline",
    ({ node, view }) => roleOf(view.cluster, node),
  ),
  optional("powered", "Powered", "bool", "Whether it is thought to be powered on", ({ node, ndparams }) =>
    ndparams.oob_program ? normal(node.powered) : UNAVAILABLE,
  ),
  optional("hv_state", "HypervisorState", "other", "Hypervisor state; always unavailable", () => UNAVAILABLE),
  optional("disk_state", "DiskState", "other", "Disk state; always unavailable", () => UNAVAILABLE),
  live("bootid", "BootID", "text", "Identifier that changes at each boot", (row) =>
    row.reported((report) => report.bootId),
  ),
  live("cnodes", "CNodes", "number", "Number of NUMA nodes", (row) => row.reported((report) => report.cpuNumaNodes)),
  live("cnos", "CNOs", "number", "Processors that the node itself uses", (row) =>
    row.reported((report) => report.cpuNode),
  ),
  live("csockets", "CSockets", "number", "Number of processor sockets", (row) =>
    row.reported((report) => report.cpuSockets),
  ),
  live("ctotal", "CTotal", "number", "Number of logical processors", (row) =>
    row.reported((report) => report.cpuTotal),
  ),
  live("dfree", "DFree", "unit", "Storage that is free", (row) =>
    row.reported((report) => row.mainStorage(report)?.freeMib),
  ),
  live("dtotal", "DTotal", "unit", "Storage in all", (row) =>
    row.reported((report) => row.mainStorage(report)?.totalMib),
  ),
  live("spfree", "SpFree", "number", "Spindles that are free", (row) =>
    row.reported((report) => row.spindles(report)?.freeMib),
  ),
  live("sptotal", "SpTotal", "number", "Spindles in all", (row) =>
    row.reported((report) => row.spindles(report)?.totalMib),
  ),
  live("mfree", "MFree", "unit", "Memory that is free for instances", (row) =>
    row.reported((report) => report.memoryFreeMib),
  ),
  live("mnode", "MNode", "unit", "Memory that the node itself uses", (row) =>
    row.reported((report) => report.memoryNodeMib),
  ),
  live("mtotal", "MTotal", "unit", "Memory in all", (row) => row.reported((report) => report.memoryTotalMib)),
  ...ndparamFields<NodeContext>((row) => row.ndparams),
  ...stampFields<NodeContext>("node", ({ node }) => node),
];

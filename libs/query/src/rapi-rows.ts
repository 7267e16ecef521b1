/**
 * The objects that the remote API's lists and details answer: a fixed set of fields for each resource, every
 * key in every row, null where there is no value (spec/query-fields.json, `rapi_fixed_fields`). Values are
 * those of the query fields of the same names.
 */
import type { ConfigView, FilterRule, Instance, Network, Node, NodeGroup } from "@gannet/objects";
import type { Field } from "./field.ts";
import { FILTER_FIELDS } from "./fields/filter.ts";
import { GROUP_FIELDS } from "./fields/group.ts";
import { INSTANCE_FIELDS, InstanceContext } from "./fields/instance.ts";
import type { JobEntity } from "./fields/job.ts";
import { JOB_FIELDS } from "./fields/job.ts";
import { NETWORK_FIELDS } from "./fields/network.ts";
import { NODE_FIELDS, NodeContext } from "./fields/node.ts";
import { OS_FIELDS } from "./fields/os.ts";
import type { LiveValues } from "./live-values.ts";
import type { OsContext } from "./os-rows.ts";
import { RESULT_STATUS } from "./result-status.ts";

/** One answer's object: JSON values by their names on the wire. */
export type RapiRow = Readonly<Record<string, unknown>>;

export const INSTANCE_ROW_FIELDS = [
  "name",
  "admin_state",
  "os",
  "pnode",
  "snodes",
  "disk_template",
  "nic.ips",
  "nic.macs",
  "nic.modes",
  "nic.uuids",
  "nic.names",
  "nic.links",
  "nic.networks",
  "nic.networks.names",
  "nic.bridges",
  "network_port",
  "disk.sizes",
  "disk.spindles",
  "disk_usage",
  "disk.uuids",
  "disk.names",
  "beparams",
  "hvparams",
  "oper_state",
  "oper_ram",
  "oper_vcpus",
  "status",
  "custom_hvparams",
  "custom_beparams",
  "custom_nicparams",
  "custom_osparams",
  "ctime",
  "mtime",
  "uuid",
  "serial_no",
  "tags",
] as const;

export const NODE_ROW_FIELDS = [
  "name",
  "offline",
  "master_candidate",
  "drained",
  "dtotal",
  "dfree",
  "sptotal",
  "spfree",
  "mtotal",
  "mnode",
  "mfree",
  "pinst_cnt",
  "sinst_cnt",
  "ctotal",
  "cnos",
  "cnodes",
  "csockets",
  "pip",
  "sip",
  "role",
  "pinst_list",
  "sinst_list",
  "master_capable",
  "vm_capable",
  "ndparams",
  "group.uuid",
  "ctime",
  "mtime",
  "uuid",
  "serial_no",
  "tags",
] as const;

export const GROUP_ROW_FIELDS = [
  "alloc_policy",
  "name",
  "node_cnt",
  "node_list",
  "ipolicy",
  "custom_ipolicy",
  "diskparams",
  "custom_diskparams",
  "ndparams",
  "custom_ndparams",
  "ctime",
  "mtime",
  "uuid",
  "serial_no",
  "tags",
] as const;

export const NETWORK_ROW_FIELDS = [
  "name",
  "network",
  "gateway",
  "network6",
  "gateway6",
  "mac_prefix",
  "free_count",
  "reserved_count",
  "map",
  "group_list",
  "inst_list",
  "external_reservations",
  "ctime",
  "mtime",
  "uuid",
  "serial_no",
  "tags",
] as const;

export const FILTER_ROW_FIELDS = ["watermark", "priority", "predicates", "action", "reason_trail", "uuid"] as const;

export const JOB_ROW_FIELDS = [
  "id",
  "ops",
  "status",
  "summary",
  "opstatus",
  "received_ts",
  "start_ts",
  "end_ts",
] as const;

export const JOB_DETAIL_FIELDS = [...JOB_ROW_FIELDS, "oplog", "opresult"] as const;

export const OS_ROW_FIELDS = [
  "name",
  "valid",
  "hidden",
  "blacklisted",
  "variants",
  "api_versions",
  "parameters",
  "trusted",
] as const;

const instanceValues = valuesOf(INSTANCE_FIELDS, INSTANCE_ROW_FIELDS);
const nodeValues = valuesOf(NODE_FIELDS, NODE_ROW_FIELDS);
const groupValues = valuesOf(GROUP_FIELDS, GROUP_ROW_FIELDS);
const networkValues = valuesOf(NETWORK_FIELDS, NETWORK_ROW_FIELDS);
const filterValues = valuesOf(FILTER_FIELDS, FILTER_ROW_FIELDS);
const jobValues = valuesOf(JOB_FIELDS, JOB_ROW_FIELDS);
const jobDetailValues = valuesOf(JOB_FIELDS, JOB_DETAIL_FIELDS);
const osValues = valuesOf(OS_FIELDS, OS_ROW_FIELDS);

/**
 * An instance in lists and alone. `beparams.memory` stands beside the newer names, for older clients; under
 * `rapi_defaults` 2.5 `admin_state` is the boolean that it was then.
 */
export function instanceRow(instance: Instance, view: ConfigView, live: LiveValues): RapiRow {
  const context = new InstanceContext(instance, view, live);
  const row = instanceValues(context);
  row.beparams = { ...context.beparams, memory: context.beparams.maxmem };
  if (view.cluster.rapiDefaults === "2.5") row.admin_state = instance.adminState === "up";
  return row;
}

/** A node in lists. */
export function nodeRow(node: Node, view: ConfigView, live: LiveValues): RapiRow {
  return nodeValues(new NodeContext(node, view, live));
}

/** A node alone: its secondary address has a second name. */
export function nodeDetail(node: Node, view: ConfigView, live: LiveValues): RapiRow {
  return { ...nodeRow(node, view, live), secondary_ip: node.secondaryIp };
}

/** A node group in lists and alone. */
export function groupRow(group: NodeGroup, view: ConfigView): RapiRow {
  return groupValues({ group, view });
}

/** A network in lists and alone. */
export function networkRow(network: Network, view: ConfigView): RapiRow {
  return networkValues({ network, view });
}

/** A job filter in lists and alone. */
export function filterRow(rule: FilterRule): RapiRow {
  return filterValues(rule);
}

/** A job in lists. */
export function jobRow(job: JobEntity): RapiRow {
  return jobValues({ id: job.id, job });
}

/** A job alone, with its log and results. */
export function jobDetail(job: JobEntity): RapiRow {
  return jobDetailValues({ id: job.id, job });
}

/** An OS definition in the bulk list. */
export function osRow(os: OsContext): RapiRow {
  return osValues(os);
}

/** A function that makes the object of a row. */
function valuesOf<Row>(fields: readonly Field<Row>[], names: readonly string[]): (row: Row) => Record<string, unknown> {
  const byName = new Map(fields.map((field) => [field.name, field]));
  const shown = names.map((name) => {
    const field = byName.get(name);
    if (field === undefined) throw new Error(`The remote API shows a field '${name}' that no query has`);
    return field;
  });
  return (row) => {
    const values: Record<string, unknown> = {};
    for (const { name, cell } of shown) {
      const [status, value] = cell(row);
      values[name] = status === RESULT_STATUS.normal ? value : null;
    }
    return values;
  };
}

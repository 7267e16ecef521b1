/**
 * What the methods answer that answer at once (spec/query-fields.json, `rapi_fixed_fields`; spec/rapi.json,
 * `special`): the same keys in every object, null where there is no value.
 */
import { ADMIN_STATES, ALLOC_POLICIES, DISK_TEMPLATES } from "@gannet/objects";
import { z } from "zod";
import { JOB_STATUSES } from "../enums.ts";
import * as r from "../results.ts";

const text = z.string();
const texts = z.array(text);
const count = z.int().nonnegative();
const optionalText = text.nullable();
const optionalTexts = z.array(optionalText);
const mebibytes = z.int().nullable();
const object = r.anyObject;

/** Name and URI of an object, as lists show it without `bulk`. */
export const namedEntry = z.strictObject({ name: text, uri: text });
export const idEntry = z.strictObject({ id: text, uri: text });
export const instanceEntry = z.strictObject({ id: text, name: text, uri: text });
export const jobEntry = z.strictObject({ id: z.int(), uri: text });
export const filterEntry = z.strictObject({ uuid: text, uri: text });

const stamps = { ctime: z.number(), mtime: z.number(), uuid: text, serial_no: z.int(), tags: texts };

export const instanceAnswer = z
  .strictObject({
    name: text,
    /** A boolean where the cluster's `rapi_defaults` is 2.5. */
    admin_state: z.union([z.enum(ADMIN_STATES), z.boolean()]),
    os: text,
    pnode: optionalText,
    snodes: texts,
    disk_template: z.enum([...DISK_TEMPLATES, "mixed"]),
    "nic.ips": optionalTexts,
    "nic.macs": texts,
    "nic.modes": optionalTexts,
    "nic.uuids": texts,
    "nic.names": optionalTexts,
    "nic.links": optionalTexts,
    "nic.networks": optionalTexts,
    "nic.networks.names": optionalTexts,
    "nic.bridges": optionalTexts,
    network_port: z.int().nullable(),
    "disk.sizes": z.array(z.int()),
    "disk.spindles": z.array(z.int().nullable()),
    disk_usage: z.int(),
    "disk.uuids": texts,
    "disk.names": optionalTexts,
    beparams: object,
    hvparams: object,
    oper_state: z.boolean().nullable(),
    oper_ram: mebibytes,
    oper_vcpus: z.int().nullable(),
    status: text,
    custom_hvparams: object,
    custom_beparams: object,
    custom_nicparams: z.array(object),
    custom_osparams: object,
    ...stamps,
  })
  .meta({ id: "Instance", description: "An instance; sizes in MiB, times in seconds since 1970." });

const nodeKeys = {
  name: text,
  offline: z.boolean(),
  master_candidate: z.boolean(),
  drained: z.boolean(),
  dtotal: mebibytes,
  dfree: mebibytes,
  sptotal: z.int().nullable(),
  spfree: z.int().nullable(),
  mtotal: mebibytes,
  mnode: mebibytes,
  mfree: mebibytes,
  pinst_cnt: count,
  sinst_cnt: count,
  ctotal: z.int().nullable(),
  cnos: z.int().nullable(),
  cnodes: z.int().nullable(),
  csockets: z.int().nullable(),
  pip: text,
  sip: text,
  role: z.enum(["M", "C", "R", "D", "O"]),
  pinst_list: texts,
  sinst_list: texts,
  master_capable: z.boolean(),
  vm_capable: z.boolean(),
  ndparams: object,
  "group.uuid": text,
  ...stamps,
};
export const nodeAnswer = z.strictObject(nodeKeys).meta({ id: "Node", description: "A node; sizes in MiB." });
export const nodeDetailAnswer = z
  .strictObject({ ...nodeKeys, secondary_ip: text })
  .meta({ id: "NodeDetail", description: "A node; sizes in MiB. `secondary_ip` is `sip`'s other name." });

export const groupAnswer = z
  .strictObject({
    alloc_policy: z.enum(ALLOC_POLICIES),
    name: text,
    node_cnt: count,
    node_list: texts,
    ipolicy: object,
    custom_ipolicy: object,
    diskparams: object,
    custom_diskparams: object,
    ndparams: object,
    custom_ndparams: object,
    ...stamps,
  })
  .meta({ id: "Group", description: "A node group." });

export const networkAnswer = z
  .strictObject({
    name: text,
    network: text,
    gateway: optionalText,
    network6: optionalText,
    gateway6: optionalText,
    mac_prefix: optionalText,
    free_count: count.nullable(),
    reserved_count: count.nullable(),
    /** One character an address: `X` taken, `.` free. */
    map: optionalText,
    group_list: z.array(z.array(optionalText)),
    inst_list: texts,
    external_reservations: optionalText,
    ...stamps,
  })
  .meta({ id: "Network", description: "A network." });

export const filterAnswer = z
  .strictObject({
    watermark: z.int(),
    priority: count,
    predicates: z.array(z.unknown()),
    action: z.union([text, z.array(z.unknown())]),
    reason_trail: z.array(z.tuple([text, text, z.number()])),
    uuid: text,
  })
  .meta({ id: "Filter", description: "A job filter." });

/** `[seconds, microseconds]` since 1970. */
const timestamp = z.tuple([z.int(), z.int()]).meta({ id: "Timestamp", description: "`[seconds, microseconds]`." });
const jobStatus = z.enum(JOB_STATUSES).meta({ id: "JobStatus" });
const wireOpcode = z
  .looseObject({ OP_ID: text })
  .meta({ id: "Opcode", description: "An opcode's parameters; secret ones are redacted." });
const logEntry = z
  .tuple([z.int(), timestamp, text, z.unknown()])
  .meta({ id: "LogEntry", description: "`[serial, time, type, payload]`; serials grow over all opcodes of a job." });

const jobKeys = {
  id: z.int(),
  ops: z.array(wireOpcode),
  status: jobStatus,
  summary: texts,
  opstatus: z.array(jobStatus),
  received_ts: timestamp.nullable(),
  start_ts: timestamp.nullable(),
  end_ts: timestamp.nullable(),
};
export const jobAnswer = z.strictObject(jobKeys).meta({ id: "Job", description: "A job in lists." });
export const jobDetailAnswer = z
  .strictObject({
    ...jobKeys,
    oplog: z.array(z.array(logEntry)),
    /** Of each opcode its result, its error `[class, arguments]`, or null. */
    opresult: z.array(z.unknown()),
  })
  .meta({
    id: "JobDetail",
    description: "A job with the log and the result, or error `[class, arguments]`, of each opcode.",
  });
export type JobDetailAnswer = z.output<typeof jobDetailAnswer>;

export const jobChangeAnswer = z
  .strictObject({ job_info: z.array(z.unknown()), log_entries: z.array(logEntry) })
  .nullable();
export const jobQueueAnswer = z.strictObject({ drained: z.boolean(), jobs: z.record(text, count) });
/** Whether it was done, and why or why not. */
export const verdict = z.tuple([z.boolean(), text]);
export const blockers = z.array(
  z.union([z.strictObject({ lock: optionalText, blocked_by: z.array(z.int()) }), z.strictObject({ filter: text })]),
);

export const osAnswer = z
  .strictObject({
    name: text,
    valid: z.boolean(),
    hidden: z.boolean(),
    blacklisted: z.boolean(),
    variants: texts,
    api_versions: z.array(z.int()),
    parameters: z.array(z.strictObject({ name: text, description: text })),
    trusted: z.boolean(),
  })
  .meta({ id: "Os", description: "An operating system that instances can be installed with." });

export const NODE_ROLE_WORDS = ["drained", "master", "master-candidate", "offline", "regular"] as const;
export const nodeRole = z.enum(NODE_ROLE_WORDS);

/** The keys that a console has depend on its kind. */
export const consoleAnswer = z
  .union([
    z.strictObject({ instance: text, kind: z.literal("msg"), message: text }),
    z.strictObject({ instance: text, kind: z.literal("spice"), host: text, port: z.int() }),
    z.strictObject({ instance: text, kind: z.literal("ssh"), host: text, user: text, command: texts }),
    z.strictObject({ instance: text, kind: z.literal("vnc"), host: text, port: z.int(), display: z.int() }),
  ])
  .meta({ id: "Console", description: "How a console is reached." });

const tokenKeys = {
  id: text,
  name: text,
  owner: text,
  rights: z.record(text, z.enum(["read", "write"])),
  root: z.boolean(),
  ctime: z.number(),
  expires: z.number(),
  last_used: z.number().nullable(),
};
export const tokens = z.array(
  z.strictObject(tokenKeys).meta({ id: "ApiToken", description: "An API token; times in seconds since 1970." }),
);
export const newTokenAnswer = z
  .strictObject({ ...tokenKeys, token: text })
  .meta({ id: "NewApiToken", description: "An API token with the text that proves it." });

const uidRanges = z.array(z.tuple([z.int(), z.int()]));
export const clusterAnswer = z
  .strictObject({
    software_version: text,
    protocol_version: z.int(),
    config_version: z.int(),
    os_api_version: z.int(),
    export_version: z.int(),
    vcs_version: text,
    architecture: z.tuple([text, text]),
    name: text,
    master: optionalText,
    default_hypervisor: optionalText,
    enabled_hypervisors: texts,
    hvparams: object,
    os_hvp: object,
    beparams: object,
    osparams: object,
    ipolicy: object,
    nicparams: object,
    ndparams: object,
    diskparams: object,
    candidate_pool_size: z.int(),
    max_running_jobs: z.int(),
    max_tracked_jobs: z.int(),
    mac_prefix: text,
    master_netdev: text,
    master_netmask: z.int(),
    use_external_mip_script: z.boolean(),
    volume_group_name: optionalText,
    drbd_usermode_helper: optionalText,
    file_storage_dir: text,
    shared_file_storage_dir: text,
    gluster_storage_dir: text,
    maintain_node_health: z.boolean(),
    ctime: z.number(),
    mtime: z.number(),
    uuid: text,
    tags: texts,
    uid_pool: uidRanges,
    default_iallocator: text,
    default_iallocator_params: object,
    reserved_lvs: texts,
    primary_ip_version: z.literal([4, 6]),
    prealloc_wipe_disks: z.boolean(),
    hidden_os: texts,
    blacklisted_os: texts,
    enabled_disk_templates: z.array(z.enum(DISK_TEMPLATES)),
    install_image: text,
    instance_communication_network: text,
    zeroing_image: text,
    compression_tools: texts,
    enabled_user_shutdown: z.boolean(),
    enabled_data_collectors: z.record(text, z.boolean()),
    data_collector_interval: z.record(text, z.int()),
    modify_ssh_setup: z.boolean(),
    ssh_key_type: text,
    ssh_key_bits: z.int(),
    vg_name: optionalText,
    drbd_helper: optionalText,
  })
  .meta({ id: "Cluster", description: "The cluster." });

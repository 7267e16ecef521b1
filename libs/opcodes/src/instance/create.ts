import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { INSTANCE_CREATE_MODES } from "../enums.ts";
import * as p from "../params.ts";
import * as r from "../results.ts";
import { post } from "../route.ts";

/** Names that older clients give to parameters. */
export const INSTANCE_CREATE_ALIASES = { os: "os_type", name: "instance_name" } as const;

export const InstanceCreate = defineOpcode({
  id: "OP_INSTANCE_CREATE",
  doc: "Create an instance: from nothing, from an export, or from another cluster.",
  params: {
    instance_name: p.newInstanceName,
    force_variant: p.forceVariant,
    wait_for_sync: p.waitForSync,
    name_check: p.nameCheck,
    ignore_ipolicy: p.ignoreIpolicy,
    opportunistic_locking: p.opportunisticLocking,
    beparams: p.beparams,
    disks: p.requiredList(p.diskParams, "The disks; each needs a `size` unless it adopts a volume."),
    disk_template: p.diskTemplate,
    group_name: p.optionalGroupName,
    file_driver: p.fileDriver,
    file_storage_dir: p.fileStorageDir,
    hvparams: p.hvparams,
    hypervisor: p.hypervisor,
    iallocator: p.iallocator,
    identify_defaults: p.flag("Leave unset what equals the cluster's default at import."),
    ip_check: p.ipCheck,
    conflicts_check: p.conflictsCheck,
    mode: p.required(z.enum(INSTANCE_CREATE_MODES), "Where the instance comes from."),
    nics: p.requiredList(p.nicParams, "The network interfaces; `{}` takes all defaults."),
    no_install: p.optionalFlag("Leave the disks empty; the instance is not started."),
    osparams: p.osparams,
    osparams_private: p.osparamsPrivate,
    osparams_secret: p.osparamsSecret,
    os_type: p.osType,
    pnode: p.optional(p.hostName, "The primary node."),
    pnode_uuid: p.uuid,
    snode: p.optional(p.hostName, "The secondary node."),
    snode_uuid: p.uuid,
    source_handshake: p.optional(z.array(z.unknown()), "The other cluster's signed greeting."),
    source_instance_name: p.optional(p.hostName, "The instance's name on the other cluster."),
    source_shutdown_timeout: p.shutdownTimeout,
    source_x509_ca: p.optional(p.text.min(1), "The other cluster's certificate, as PEM."),
    src_node: p.optional(p.hostName, "The node that has the export."),
    src_node_uuid: p.uuid,
    src_path: p.optional(p.path, "Folder of the export."),
    compress: p.compress,
    start: p.flag("Start the instance once it is made.", { default: true }),
    forthcoming: p.flag("Reserve the resources only."),
    commit: p.flag("Make real what was reserved before."),
    tags: p.list(p.tag.min(1), "Tags of the instance."),
    instance_communication: p.flag("Give the guest an interface to talk to its node."),
    helper_startup_timeout: p.optional(z.int(), "Seconds the installing machine may take to start."),
    helper_shutdown_timeout: p.optional(z.int(), "Seconds the installing machine may take to finish."),
  },
  /** The instance's nodes, the primary first. */
  result: r.names,
  summary: "instance_name",
  rapi: [
    post("/2/instances", {
      dryRun: "query",
      aliases: INSTANCE_CREATE_ALIASES,
      bodyConstants: { __version__: 1 },
      defaults25: { ip_check: true, name_check: true },
    }),
  ],
  cli: command("instance add", { args: ["instance_name"] }),
});

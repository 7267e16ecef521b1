import { z } from "zod";
import { command, defineOpcode } from "../define.ts";
import { EXPORT_MODES } from "../enums.ts";
import * as p from "../params.ts";
import { put } from "../route.ts";

export const BackupExport = defineOpcode({
  id: "OP_BACKUP_EXPORT",
  doc: "Export an instance to a node, or to another cluster.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    compress: p.compress,
    shutdown_timeout: p.shutdownTimeout,
    target_node: p.required(p.exportTarget, "The node that keeps the export; remote: where each disk goes."),
    target_node_uuid: p.uuid,
    shutdown: p.flag("Shut the instance down while its disks are copied.", { default: true }),
    remove_instance: p.flag("Remove the instance once it is exported."),
    ignore_remove_failures: p.flag("Go on where removing the instance fails."),
    mode: p.withDefault(z.enum(EXPORT_MODES), "local", "To a node of this cluster, or to another cluster."),
    x509_key_name: p.optional(z.array(z.unknown()), "Signed name of the key made for a remote export."),
    destination_x509_ca: p.optional(p.text.min(1), "The other cluster's certificate, as PEM."),
    zero_free_space: p.flag("Overwrite unused space with zeros first."),
    zeroing_timeout_fixed: p.optional(z.int(), "Seconds that overwriting may take whatever the size."),
    zeroing_timeout_per_mib: p.optional(z.number(), "Seconds more for each MiB."),
    long_sleep: p.flag("Keep the instance down until the whole export is over."),
  },
  result: z.tuple([z.boolean(), z.array(z.boolean())]),
  summary: "instance_name",
  rapi: [put("/2/instances/:instance_name/export", { aliases: { destination: "target_node" } })],
  cli: command("backup export", { args: ["instance_name"] }),
});

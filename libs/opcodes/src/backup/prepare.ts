import { z } from "zod";
import { defineOpcode } from "../define.ts";
import { EXPORT_MODES } from "../enums.ts";
import * as p from "../params.ts";
import { put } from "../route.ts";

export const BackupPrepare = defineOpcode({
  id: "OP_BACKUP_PREPARE",
  doc: "Make the key and certificate for a remote export.",
  params: {
    instance_name: p.instanceName,
    instance_uuid: p.uuid,
    mode: p.required(z.enum(EXPORT_MODES), "The export's mode."),
  },
  result: z.record(z.string(), z.unknown()).nullable(),
  summary: "instance_name",
  rapi: [
    put("/2/instances/:instance_name/prepare-export", {
      query: { mode: { type: "string", required: true } },
      body: "ignored",
    }),
  ],
  cli: null,
});

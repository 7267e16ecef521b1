/** The fields of a job as clients read them (spec/jobs.json, `job_fields`). */
import { OpPrereqError } from "@gannet/errors";
import type { Job, JobOpcode, LogEntry } from "@gannet/job-ledger";
import { redact } from "@gannet/opcodes";

const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);

export function isFinal(job: Job): boolean {
  return FINAL.has(job.status);
}

const perOpcode = (read: (opcode: JobOpcode) => unknown) => (job: Job) => job.opcodes.map(read);

const JOB_FIELDS = {
  id: (job) => job.id,
  status: (job) => job.status,
  priority: (job) => {
    const open = job.opcodes.filter((opcode) => !FINAL.has(opcode.status));
    return open.length === 0 ? 0 : Math.min(...open.map((opcode) => opcode.priority));
  },
  archived: (job) => job.archived,
  summary: (job) => job.summary,
  ops: perOpcode((opcode) => redact(opcode.input)),
  opresult: perOpcode((opcode) => opcode.result),
  opstatus: perOpcode((opcode) => opcode.status),
  oplog: perOpcode((opcode) => opcode.log),
  opstart: perOpcode((opcode) => opcode.startTimestamp),
  opexec: perOpcode((opcode) => opcode.execTimestamp),
  opend: perOpcode((opcode) => opcode.endTimestamp),
  oppriority: perOpcode((opcode) => opcode.priority),
  received_ts: (job) => job.receivedTimestamp,
  start_ts: (job) => job.startTimestamp,
  end_ts: (job) => job.endTimestamp,
} as const satisfies Readonly<Record<string, (job: Job) => unknown>>;

export type JobField = keyof typeof JOB_FIELDS;

/** What the bulk list shows of each job (spec/query-fields.json, `rapi_fixed_fields.job_bulk`). */
export const BULK_FIELDS = ["id", "ops", "status", "summary", "opstatus", "received_ts", "start_ts", "end_ts"] as const;
/** What one job's resource shows (`rapi_fixed_fields.job_detail`). */
export const DETAIL_FIELDS = [...BULK_FIELDS, "oplog", "opresult"] as const;

/** @throws OpPrereqError naming a field that jobs do not have */
export function jobFieldNames(names: readonly string[]): readonly JobField[] {
  for (const name of names)
    if (!Object.hasOwn(JOB_FIELDS, name)) throw new OpPrereqError(`Jobs have no field "${name}"`, "wrong_input");
  return names as readonly JobField[];
}

/** The fields' values in the order asked. */
export function jobValues(job: Job, fields: readonly JobField[]): readonly unknown[] {
  return fields.map((field) => JOB_FIELDS[field](job));
}

/** The fields as an object. */
export function jobRow(job: Job, fields: readonly JobField[]): Readonly<Record<string, unknown>> {
  return Object.fromEntries(fields.map((field) => [field, JOB_FIELDS[field](job)]));
}

/** Log entries of all opcodes with a serial above `after`; all when it is null. */
export function logEntriesAfter(job: Job, after: number | null): readonly LogEntry[] {
  return job.opcodes
    .flatMap((opcode) => opcode.log)
    .filter(([serial]) => after === null || serial > after)
    .sort(([a], [b]) => a - b);
}

/** Fields of jobs. */
import type { WireOpcode } from "@gannet/opcodes";
import { redact, withQueueReason } from "@gannet/opcodes";
import type { Field, FieldKind, MatchMode } from "../field.ts";
import { live, stored } from "../field.ts";
import { available, normal, UNAVAILABLE } from "../result-status.ts";

type Timestamp = readonly [sec: number, usec: number];

/** A job as the ledger keeps it, as far as queries show it. */
export interface JobEntity {
  readonly id: number;
  readonly status: string;
  readonly archived: boolean;
  readonly summary: readonly string[];
  readonly opcodes: readonly {
    readonly input: WireOpcode;
    readonly status: string;
    readonly result: unknown;
    readonly log: readonly unknown[];
    readonly priority: number;
    readonly startTimestamp: Timestamp | null;
    readonly execTimestamp: Timestamp | null;
    readonly endTimestamp: Timestamp | null;
  }[];
  readonly receivedTimestamp: Timestamp;
  readonly startTimestamp: Timestamp | null;
  readonly endTimestamp: Timestamp | null;
}

/** A job that was asked for by its id; `job` is undefined when there is none. */
export interface JobContext {
  readonly id: number;
  readonly job: JobEntity | undefined;
}

const FINAL = new Set(["canceled", "error", "success"]);

/** The lowest, most urgent, priority of what is still to be done. */
function priorityOf(job: JobEntity): number {
  const open = job.opcodes.filter(({ status }) => !FINAL.has(status)).map(({ priority }) => priority);
  return open.length === 0 ? 0 : Math.min(...open);
}

function ofJob(
  name: string,
  title: string,
  kind: FieldKind,
  doc: string,
  value: (job: JobEntity) => unknown,
  match?: MatchMode,
): Field<JobContext> {
  const options = match === undefined ? undefined : { match };
  return live(name, title, kind, doc, ({ job }) => (job === undefined ? UNAVAILABLE : available(value(job))), options);
}

/** A list with one value for each opcode; the values may be null. */
function ofOpcodes(
  name: string,
  title: string,
  doc: string,
  value: (opcode: JobEntity["opcodes"][number], index: number, job: JobEntity) => unknown,
): Field<JobContext> {
  return live(name, title, "other", doc, ({ job }) =>
    job === undefined ? UNAVAILABLE : normal(job.opcodes.map((opcode, index) => value(opcode, index, job))),
  );
}

export const JOB_FIELDS: readonly Field<JobContext>[] = [
  stored("id", "ID", "number", "Id of the job", ({ id }) => id),
  ofJob("status", "Status", "text", "Status of the job", ({ status }) => status),
  ofJob("priority", "Priority", "number", "Most urgent priority of its unfinished opcodes", priorityOf),
  ofJob("archived", "Archived", "bool", "Whether the job is archived", ({ archived }) => archived),
  ofJob("summary", "Summary", "other", "What each opcode does, in short", ({ summary }) => summary),
  ofOpcodes("ops", "OpCodes", "The opcodes", ({ input }, index, { id: jobId, receivedTimestamp: received }) =>
    redact(withQueueReason(input, { jobId, index, received })),
  ),
  ofOpcodes("opresult", "OpCode_result", "Result of each opcode", ({ result }) => result),
  ofOpcodes("opstatus", "OpCode_status", "Status of each opcode", ({ status }) => status),
  ofOpcodes("oplog", "OpCode_log", "Log of each opcode", ({ log }) => log),
  ofOpcodes("opstart", "OpCode_start", "When each opcode asked for its locks", ({ startTimestamp }) => startTimestamp),
  ofOpcodes("opexec", "OpCode_exec", "When each opcode had its locks", ({ execTimestamp }) => execTimestamp),
  ofOpcodes("opend", "OpCode_end", "When each opcode ended", ({ endTimestamp }) => endTimestamp),
  ofOpcodes("oppriority", "OpCode_prio", "Priority of each opcode", ({ priority }) => priority),
  ofJob("received_ts", "Received", "other", "When the job was submitted", (job) => job.receivedTimestamp, "timestamp"),
  ofJob("start_ts", "Start", "other", "When the job was begun", (job) => job.startTimestamp, "timestamp"),
  ofJob("end_ts", "End", "other", "When the job ended", (job) => job.endTimestamp, "timestamp"),
];

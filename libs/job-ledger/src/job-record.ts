/** A job as Redis keeps it (lua/ledger.lua has the fields) and as the rest of the program sees it. Pure. */
import { PRECEDING_OPCODE_FAILED } from "@gannet/errors";
import { parseDependencyLines } from "./dependencies.ts";
import type { Job, JobId, JobOpcode, JobStatus, JobTimestamp, LogEntry, OpcodeInput, OpcodeStatus } from "./job.ts";

/** A job's hash. */
export type JobRecord = Readonly<Record<string, string>>;

/** What opcodes that a cancel took from a working executor show as result (spec/jobs.json, `after_cancel`). */
const CANCELED_BY_REQUEST = "Job canceled by request";

/** @param log entries as the ledger's script wrote them, oldest first */
export function jobOf(id: JobId, record: JobRecord, log: readonly string[]): Job {
  const status = record.status as JobStatus;
  const at = Number(record.at);
  const inputs = withAbsoluteDependencies(JSON.parse(record.ops ?? "[]"), record.depends);
  const logs = logsByOpcode(log);
  const priorities = (record.priorities ?? "").split(" ");
  return {
    id,
    status,
    archived: record.archived !== undefined,
    summary: JSON.parse(record.summary ?? "[]"),
    opcodes: inputs.map(
      (input, index): JobOpcode => ({
        input,
        status: opcodeStatus(status, index, at),
        result: resultOf(record, status, index, at),
        log: logs.get(index) ?? [],
        priority: Number(priorities[index]),
        startTimestamp: timestamp(record[`start.${index}`]),
        execTimestamp: timestamp(record[`exec.${index}`]),
        endTimestamp: timestamp(record[`end.${index}`] ?? endOfDequeued(record, index, at)),
      }),
    ),
    receivedTimestamp: timestamp(record.received) ?? [0, 0],
    startTimestamp: timestamp(record.start),
    endTimestamp: timestamp(record.end),
    requester: record.requester ?? "",
  };
}

/** The opcodes before `at` have succeeded; what is with the others follows from the job's status. */
function opcodeStatus(status: JobStatus, index: number, at: number): OpcodeStatus {
  if (index < at) return "success";
  if (index > at && (status === "waiting" || status === "running")) return "queued";
  return status;
}

function resultOf(record: JobRecord, status: JobStatus, index: number, at: number): unknown {
  if (status === "error" && index > at) return PRECEDING_OPCODE_FAILED;
  if (status === "canceled" && index >= at) return record.canceled === "request" ? CANCELED_BY_REQUEST : null;
  const result = record[`result.${index}`];
  return result === undefined ? null : JSON.parse(result);
}

/** Opcodes canceled before anything picked them up end with their job; others have no end of their own. */
function endOfDequeued(record: JobRecord, index: number, at: number): string | undefined {
  return record.canceled === "queue" && index >= at ? record.end : undefined;
}

/** `1795293765888170` (µs) is `[1795293765, 888170]`. */
function timestamp(microseconds: string | undefined): JobTimestamp | null {
  if (microseconds === undefined) return null;
  return [Number(microseconds.slice(0, -6)), Number(microseconds.slice(-6))];
}

function logsByOpcode(log: readonly string[]): ReadonlyMap<number, readonly LogEntry[]> {
  const byOpcode = new Map<number, LogEntry[]>();
  for (const line of log) {
    const space = line.indexOf(" ");
    const index = Number(line.slice(0, space));
    const entry = JSON.parse(line.slice(space + 1)) as LogEntry;
    const known = byOpcode.get(index);
    if (known === undefined) byOpcode.set(index, [entry]);
    else known.push(entry);
  }
  return byOpcode;
}

function withAbsoluteDependencies(inputs: readonly OpcodeInput[], lines: string | undefined): readonly OpcodeInput[] {
  if (lines === undefined) return inputs;
  const byOpcode = parseDependencyLines(lines);
  return inputs.map((input, index) => {
    const depends = byOpcode.get(index);
    return depends === undefined ? input : { ...input, depends };
  });
}

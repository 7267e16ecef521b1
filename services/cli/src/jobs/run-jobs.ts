/** Submit opcodes, wait for their jobs and for those that they submit, and say how it went. */
import { HttpError } from "@gannet/errors";
import type { OpcodeDeclaration, RawParams } from "@gannet/opcodes";
import type { Job, OpcodeInput } from "@gannet/rapi-client";
import type { Workplace } from "../command.ts";
import { EXIT, Interrupted } from "../exit-codes.ts";
import type { Gathered } from "../options/option-spec.ts";
import { JobLogWriter } from "../output/job-log.ts";
import { printResult, printValue } from "../output/print-result.ts";
import type { Terminal } from "../terminal.ts";
import { watchJobs } from "./watch-job.ts";

/**
 * One job for each set of parameters.
 * @returns the exit code
 */
export async function runJobs(
  workplace: Workplace,
  opcode: OpcodeDeclaration,
  all: readonly RawParams[],
  control: Gathered["control"],
): Promise<number> {
  const client = await workplace.client();
  const { terminal } = workplace;
  const reason = typeof control.reason === "string" ? { reason: control.reason } : {};
  const ids: number[] = [];
  let refused = false;
  for (const params of all) {
    try {
      ids.push(await client.submit(opcode, params as OpcodeInput<OpcodeDeclaration>, reason));
    } catch (error) {
      // Of several, the others go their way.
      if (all.length === 1 || !(error instanceof HttpError) || error.status >= 500) throw error;
      terminal.note(`Refused: ${error.message}`);
      refused = true;
    }
  }
  if (control.submit === true || control.printJobId === true)
    for (const id of ids) terminal.out(control.json === true ? String(id) : `JobID: ${id}`);
  if (control.submit === true) return refused ? EXIT.failed : EXIT.done;
  const code = await waitForJobs(workplace, ids, {
    print: (job) => printResult(terminal, opcode, job.opresult.at(-1), { json: control.json === true }),
  });
  return refused ? EXIT.failed : code;
}

/**
 * Wait for jobs, their logs as they come; then for the jobs that these have submitted.
 * @param print what is said of a job that succeeded
 * @throws Interrupted at Ctrl-C: the jobs go on
 */
export async function waitForJobs(
  workplace: Workplace,
  ids: readonly number[],
  { print = () => {} }: { readonly print?: (job: Job) => void } = {},
): Promise<number> {
  const { terminal, signal } = workplace;
  const client = await workplace.client();
  const prefixOf = (id: number) => (ids.length > 1 ? `job ${id}: ` : "");
  const writerOf = (id: number) => new JobLogWriter(terminal, prefixOf(id));
  let jobs: readonly Job[];
  try {
    jobs = await watchJobs(client, ids, { writerOf, signal });
  } catch (error) {
    if (signal.aborted) throw stillRunning(ids);
    throw error;
  }
  let code: number = EXIT.done;
  const submitted: number[] = [];
  for (const job of jobs) {
    if (job.status !== "success") {
      code = EXIT.failed;
      terminal.note(`${prefixOf(job.id)}${failureOf(workplace, client.jobs, job)}`);
      continue;
    }
    const more = submittedBy(job);
    submitted.push(...more.ids);
    for (const why of more.refused) terminal.note(`A job could not be submitted: ${why}`);
    if (more.refused.length > 0) code = EXIT.failed;
    if (isBadVerdict(job)) code = EXIT.failed;
    else if (!more.isJobList) print(job);
  }
  if (submitted.length === 0) return code;
  terminal.note(`Waiting for ${submitted.length === 1 ? "job" : "jobs"} ${submitted.join(", ")}`);
  return Math.max(code, await waitForJobs(workplace, submitted, { print: (job) => printFindings(terminal, job) }));
}

/** Operations that succeed whatever they find, and answer false where it is not good. */
const VERIFICATIONS: ReadonlySet<string> = new Set(["OP_CLUSTER_VERIFY_CONFIG", "OP_CLUSTER_VERIFY_GROUP"]);

function isBadVerdict({ ops, opresult }: Job): boolean {
  return ops.some(({ OP_ID: id }, index) => VERIFICATIONS.has(id) && opresult[index] === false);
}

/** Of the jobs that another one has submitted, only what has something to say. */
function printFindings(terminal: Terminal, { id, opresult }: Job): void {
  const result = opresult.at(-1);
  if (isEmpty(result)) return;
  terminal.note(`Result of job ${id}:`);
  printValue(terminal, result);
}

/** Nothing, true, or lists and objects of nothing else. */
function isEmpty(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).every(isEmpty);
  return value === null || value === undefined || value === true;
}

function failureOf({ env }: Workplace, jobs: { resultOf(job: Job): unknown }, job: Job): string {
  try {
    jobs.resultOf(job);
  } catch (error) {
    const { message, name } = error as Error;
    return `Failure: ${message}${env.GNT_DEBUG === undefined ? "" : ` (${name})`} (job ${job.id})`;
  }
  return `Failure: job ${job.id} ended as ${job.status}`;
}

function stillRunning(ids: readonly number[]): Interrupted {
  const which = ids.length === 1 ? `Job ${ids[0]} goes` : `Jobs ${ids.join(", ")} go`;
  return new Interrupted(`${which} on. To follow: gnt job watch ${ids.join(" ")}`);
}

/** The jobs that stand in the results of some opcodes: `{"jobs": [[true, 17], [false, "why"]]}`. */
function submittedBy({ opresult }: Job): {
  readonly ids: readonly number[];
  readonly refused: readonly string[];
  readonly isJobList: boolean;
} {
  const lists = opresult.flatMap((result) => {
    const jobs = typeof result === "object" && result !== null && "jobs" in result ? result.jobs : undefined;
    return Array.isArray(jobs) ? [jobs as readonly (readonly [boolean, number | string])[]] : [];
  });
  const all = lists.flat();
  return {
    ids: all.flatMap(([done, id]) => (done && typeof id === "number" ? [id] : [])),
    refused: all.flatMap(([done, why]) => (done ? [] : [String(why)])),
    isJobList: lists.length > 0,
  };
}

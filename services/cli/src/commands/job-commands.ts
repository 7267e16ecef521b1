/** Following jobs that were submitted before. */
import { OpPrereqError } from "@gannet/errors";
import type { CommandSpec, GivenArguments, Workplace } from "../command.ts";
import { EXIT, Interrupted } from "../exit-codes.ts";
import { waitForJobs } from "../jobs/run-jobs.ts";
import { watchJobs } from "../jobs/watch-job.ts";
import { JSON_OUTPUT } from "../options/common-options.ts";
import type { ArgumentSpec } from "../options/option-spec.ts";
import { describeLines } from "../output/describe.ts";
import { JobLogWriter } from "../output/job-log.ts";

const JOBS: ArgumentSpec = { name: "job_id", doc: "Number of the job.", required: true, variadic: true };

export const JOB_COMMANDS: readonly CommandSpec[] = [
  {
    words: ["job", "watch"],
    doc: "Show the log of jobs as it comes, until they are over; and of the jobs that these submit.",
    shape: () => ({ args: [JOBS], options: [JSON_OUTPUT] }),
    run: (workplace, args, { control }) =>
      waitForJobs(workplace, idsOf(args), {
        print: ({ id, opresult }) => {
          if (control.json === true) workplace.terminal.out(JSON.stringify(opresult, undefined, 2));
          else workplace.terminal.note(`Job ${id} succeeded`);
        },
      }),
  },
  {
    words: ["job", "wait"],
    doc: "Wait until jobs are over, and print how each ended.",
    shape: () => ({ args: [JOBS], options: [JSON_OUTPUT] }),
    run: waitQuietly,
  },
];

async function waitQuietly(
  { client, terminal, signal }: Workplace,
  args: GivenArguments,
  { control }: Parameters<CommandSpec["run"]>[2],
): Promise<number> {
  const ids = idsOf(args);
  const silent = { ...terminal, isLive: false, note: () => {} };
  try {
    const jobs = await watchJobs(await client(), ids, { writerOf: () => new JobLogWriter(silent), signal });
    const ends = jobs.map(({ id, status }) => ({ id, status }));
    if (control.json === true) terminal.out(JSON.stringify(ends, undefined, 2));
    else for (const { id, status } of ends) terminal.out(describeLines({ [id]: status }).join(""));
    return ends.every(({ status }) => status === "success") ? EXIT.done : EXIT.failed;
  } catch (error) {
    if (signal.aborted) throw new Interrupted(`Jobs ${ids.join(", ")} go on`);
    throw error;
  }
}

function idsOf([given = []]: GivenArguments): readonly number[] {
  return (typeof given === "string" ? [given] : given).map((id) => {
    if (!/^\d{1,15}$/.test(id)) throw new OpPrereqError(`${JSON.stringify(id)} is no job's number`, "wrong_input");
    return Number(id);
  });
}

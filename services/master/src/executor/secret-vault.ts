/**
 * Secret OS parameters of submitted jobs. They live in this process's memory only, never in Redis or a log;
 * a job whose secrets are gone because the master was restarted fails (spec/jobs.json, `secret_params`).
 */
import { OpPrereqError } from "@gannet/errors";
import type { JobId, NewJob, OpcodeInput } from "@gannet/job-ledger";
import { REDACTED } from "@gannet/opcodes";

const SECRET_PARAMETER = "osparams_secret";

type Secrets = Readonly<Record<string, unknown>>;

export class SecretVault {
  readonly #byJob = new Map<JobId, ReadonlyMap<number, Secrets>>();
  readonly #submitting = new Set<Promise<unknown>>();

  /**
   * Submit jobs with their secrets held back.
   *
   * @param submit makes the jobs it is given durable and answers their ids
   */
  async submit(
    jobs: readonly NewJob[],
    submit: (stored: readonly NewJob[]) => Promise<readonly JobId[]>,
  ): Promise<readonly JobId[]> {
    const secrets = jobs.map((job) => new Map(job.opcodes.flatMap(({ input }, index) => secretsOf(input, index))));
    if (secrets.every((ofJob) => ofJob.size === 0)) return await submit(jobs);
    const submission = submit(jobs.map(withoutSecrets)).then((ids) => {
      for (const [position, id] of ids.entries()) this.#byJob.set(id, secrets[position] ?? new Map());
      return ids;
    });
    this.#submitting.add(submission);
    try {
      return await submission;
    } finally {
      this.#submitting.delete(submission);
    }
  }

  /** The opcode as it was submitted. @throws OpPrereqError when its secrets were lost with the master that had them */
  async restore(id: JobId, index: number, stored: OpcodeInput): Promise<OpcodeInput> {
    if (secretsOf(stored, index).length === 0) return stored;
    // A job can be delivered before its submitter has its id.
    if (!this.#byJob.has(id)) await Promise.allSettled(this.#submitting);
    const secrets = this.#byJob.get(id)?.get(index);
    if (secrets === undefined)
      throw new OpPrereqError(
        "The job's secret OS parameters were lost when the master was restarted; submit it again",
        "wrong_input",
      );
    return { ...stored, [SECRET_PARAMETER]: secrets };
  }

  forget(id: JobId): void {
    this.#byJob.delete(id);
  }
}

/** Whether one of the jobs has secret OS parameters. */
export function carriesSecrets(jobs: readonly NewJob[]): boolean {
  return jobs.some(({ opcodes }) => opcodes.some(({ input }, index) => secretsOf(input, index).length > 0));
}

function secretsOf(input: OpcodeInput, index: number): [number, Secrets][] {
  const value = input[SECRET_PARAMETER];
  if (typeof value !== "object" || value === null || Object.keys(value).length === 0) return [];
  return [[index, value as Secrets]];
}

function withoutSecrets(job: NewJob): NewJob {
  return { ...job, opcodes: job.opcodes.map((opcode) => ({ ...opcode, input: redacted(opcode.input) })) };
}

function redacted(input: OpcodeInput): OpcodeInput {
  const value = input[SECRET_PARAMETER];
  if (typeof value !== "object" || value === null) return input;
  return { ...input, [SECRET_PARAMETER]: Object.fromEntries(Object.keys(value).map((key) => [key, REDACTED])) };
}

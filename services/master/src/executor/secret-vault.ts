/**
 * Secret OS parameters of submitted jobs, of one that creates several instances each one's. They live in this process's memory only, never in Redis or a log;
 * a job whose secrets are gone because the master was restarted fails (spec/jobs.json, `secret_params`).
 */
import { OpPrereqError } from "@gannet/errors";
import type { JobId, NewJob, OpcodeInput } from "@gannet/job-ledger";
import { REDACTED } from "@gannet/opcodes";

const SECRET_PARAMETER = "osparams_secret";
/** In place of an instance's position: the opcode's own parameters. */
const OWN = -1;

type Secrets = Readonly<Record<string, unknown>>;
/** Those of one opcode: its own, and by its position each listed instance's. */
type OpcodeSecrets = ReadonlyMap<number, Secrets>;

export class SecretVault {
  readonly #byJob = new Map<JobId, ReadonlyMap<number, OpcodeSecrets>>();
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
    if (!carriesSecrets(jobs)) return await submit(jobs);
    const secrets = jobs.map((job) => new Map(job.opcodes.map(({ input }, index) => [index, secretsOf(input)])));
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
    if (secretsOf(stored).size === 0) return stored;
    // A job can be delivered before its submitter has its id.
    if (!this.#byJob.has(id)) await Promise.allSettled(this.#submitting);
    const secrets = this.#byJob.get(id)?.get(index);
    if (secrets === undefined)
      throw new OpPrereqError(
        "The job's secret OS parameters were lost when the master was restarted; submit it again",
        "wrong_input",
      );
    return withSecrets(stored, (present, place) => secrets.get(place) ?? present);
  }

  forget(id: JobId): void {
    this.#byJob.delete(id);
  }
}

/** Whether one of the jobs has secret OS parameters. */
export function carriesSecrets(jobs: readonly NewJob[]): boolean {
  return jobs.some(({ opcodes }) => opcodes.some(({ input }) => secretsOf(input).size > 0));
}

function secretsOf(input: OpcodeInput): OpcodeSecrets {
  const found = new Map<number, Secrets>();
  withSecrets(input, (present, place) => {
    if (Object.keys(present).length > 0) found.set(place, present);
    return present;
  });
  return found;
}

function withoutSecrets(job: NewJob): NewJob {
  return { ...job, opcodes: job.opcodes.map((opcode) => ({ ...opcode, input: withSecrets(opcode.input, redacted) })) };
}

function redacted(present: Secrets): Secrets {
  return Object.fromEntries(Object.keys(present).map((key) => [key, REDACTED]));
}

/** The opcode with other secrets. */
function withSecrets(input: OpcodeInput, replace: (present: Secrets, place: number) => Secrets): OpcodeInput {
  const replaceIn = <T extends object>(holder: T, place: number): T => {
    const present = (holder as Record<string, unknown>)[SECRET_PARAMETER];
    return isObject(present) ? { ...holder, [SECRET_PARAMETER]: replace(present, place) } : holder;
  };
  const { instances } = input;
  const own = replaceIn(input, OWN);
  if (!Array.isArray(instances)) return own;
  return { ...own, instances: instances.map((each, place) => (isObject(each) ? replaceIn(each, place) : each)) };
}

function isObject(value: unknown): value is Secrets {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

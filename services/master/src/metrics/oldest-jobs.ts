/** Which jobs that are not over were submitted first: followed in memory, so that asking costs a read or two. */
import type { JobId, JobLedger, JobStatus } from "@gannet/job-ledger";

type PendingStatus = Exclude<JobStatus, "canceled" | "success" | "error">;

export interface OldestJob {
  readonly status: PendingStatus;
  /** Milliseconds since 1970. */
  readonly receivedMs: number;
}

export class OldestJobs {
  readonly #ledger: Pick<JobLedger, "get" | "onChange">;
  /** Ids of jobs, which grow with time. */
  readonly #byStatus: Readonly<Record<PendingStatus, Set<JobId>>> = {
    queued: new Set(),
    waiting: new Set(),
    canceling: new Set(),
    running: new Set(),
  };
  readonly #unsubscribe: () => void;

  constructor(ledger: Pick<JobLedger, "get" | "onChange">) {
    this.#ledger = ledger;
    this.#unsubscribe = ledger.onChange(
      ({ id, status }) => this.#note(id, status),
      () => {
        for (const ids of Object.values(this.#byStatus)) ids.clear();
      },
    );
  }

  close(): void {
    this.#unsubscribe();
  }

  async find(): Promise<readonly OldestJob[]> {
    const found = await Promise.all(
      Object.entries(this.#byStatus).map(async ([status, ids]) => {
        const oldest = minimum(ids);
        const job = oldest === undefined ? undefined : await this.#ledger.get(oldest);
        if (job === undefined) return [];
        const [seconds, micros] = job.receivedTimestamp;
        return [{ status: status as PendingStatus, receivedMs: seconds * 1000 + micros / 1000 }];
      }),
    );
    return found.flat();
  }

  #note(id: JobId, status: JobStatus): void {
    for (const [name, ids] of Object.entries(this.#byStatus))
      if (name === status) ids.add(id);
      else ids.delete(id);
  }
}

function minimum(ids: ReadonlySet<JobId>): JobId | undefined {
  let least: JobId | undefined;
  for (const id of ids) if (least === undefined || id < least) least = id;
  return least;
}

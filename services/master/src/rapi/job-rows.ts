/**
 * The list of jobs as `/2/jobs?bulk=1` shows it: the JSON of each job that is not archived is kept, and read again
 * when the ledger tells that the job changed. An answer has everything that happened before its request came in.
 */
import type { JobId, JobLedger } from "@gannet/job-ledger";
import { jobRow } from "@gannet/query";
import { textAnswer } from "./answers.ts";
import type { Answer } from "./handlers.ts";

/** A part of the list, oldest first. */
export interface JobPage {
  /** Only ids greater than this; 0: from the first one on. */
  readonly after: JobId;
  readonly limit: number;
}

/** Jobs made into text at a time: some milliseconds, between which other requests are served. */
const READ_PAGE = 500;

type Ledger = Pick<JobLedger, "ids" | "getMany" | "onChange" | "caughtUp">;

export class JobRows {
  readonly #ledger: Ledger;
  readonly #unsubscribe: () => void;
  readonly #rows = new Map<JobId, string>();
  /** Jobs whose rows are not what the ledger has, or have never been read. */
  readonly #stale = new Set<JobId>();
  /** False: which jobs there are is not known, and changes mean nothing. */
  #isListed = false;
  #reading: Promise<void> | undefined;
  #order: readonly JobId[] | undefined;
  #whole: Answer | undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
    this.#unsubscribe = ledger.onChange(
      ({ id }) => {
        if (this.#isListed) this.#stale.add(id);
      },
      () => {
        this.#isListed = false;
      },
    );
  }

  close(): void {
    this.#unsubscribe();
  }

  /** @throws Unavailable */
  async bulk({ after, limit }: JobPage): Promise<Answer> {
    await this.#refresh();
    if (after === 0 && limit >= this.#rows.size) {
      this.#whole ??= this.#answerOf(this.#ordered());
      return this.#whole;
    }
    const order = this.#ordered();
    const start = firstAbove(order, after);
    return this.#answerOf(order.slice(start, start + limit));
  }

  async #refresh(): Promise<void> {
    await this.#ledger.caughtUp();
    // A reading that is under way may have begun before what this request has to see; one that follows has not.
    await this.#reading?.catch(() => undefined);
    if (this.#reading === undefined && this.#isListed && this.#stale.size === 0) return;
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    await this.#reading;
  }

  async #read(): Promise<void> {
    if (!this.#isListed) await this.#list();
    const ids = [...this.#stale];
    this.#stale.clear();
    try {
      for (let start = 0; start < ids.length; start += READ_PAGE)
        await this.#readPage(ids.slice(start, start + READ_PAGE));
    } catch (error) {
      for (const id of ids) this.#stale.add(id);
      throw error;
    }
  }

  async #readPage(ids: readonly JobId[]): Promise<void> {
    const jobs = await this.#ledger.getMany(ids);
    for (const [position, id] of ids.entries()) {
      const job = jobs[position];
      this.#set(id, job === undefined || job.archived ? undefined : JSON.stringify(jobRow(job)));
    }
  }

  /** From the beginning. A job that changes from now on is told, and one that was made meanwhile, too. */
  async #list(): Promise<void> {
    this.#isListed = true;
    this.#stale.clear();
    try {
      const ids = await this.#ledger.ids({ archived: false });
      const present = new Set(ids);
      for (const id of this.#rows.keys()) if (!present.has(id)) this.#set(id, undefined);
      for (const id of ids) this.#stale.add(id);
    } catch (error) {
      this.#isListed = false;
      throw error;
    }
  }

  #set(id: JobId, row: string | undefined): void {
    const before = this.#rows.get(id);
    if (row === before) return;
    this.#whole = undefined;
    if (row === undefined || before === undefined) this.#order = undefined;
    if (row === undefined) this.#rows.delete(id);
    else this.#rows.set(id, row);
  }

  #ordered(): readonly JobId[] {
    this.#order ??= [...this.#rows.keys()].sort((a, b) => a - b);
    return this.#order;
  }

  #answerOf(ids: readonly JobId[]): Answer {
    return textAnswer(`[${ids.map((id) => this.#rows.get(id)).join(",")}]`);
  }
}

/** Where in a rising list the first number above the bound stands; its length when there is none. */
function firstAbove(rising: readonly number[], bound: number): number {
  let [from, to] = [0, rising.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((rising[middle] ?? 0) > bound) to = middle;
    else from = middle + 1;
  }
  return from;
}

/** What is under way or queued for instances and nodes, so that the watcher does nothing beside it. */
import type { JobId, JobLedger } from "@gannet/job-ledger";
import { LOCKSET, type LockManager } from "@gannet/locking";
import type { ConfigView } from "@gannet/objects";

const FINAL: ReadonlySet<string> = new Set(["canceled", "error", "success"]);
/** Jobs read at a time. */
const PAGE = 500;

/** Each with the job that works on it, or will. */
export interface PendingWork {
  /** By full name. */
  readonly instances: ReadonlyMap<string, JobId>;
  /** By UUID. */
  readonly nodes: ReadonlyMap<string, JobId>;
  /** Something is under way that concerns all instances. */
  readonly everything: JobId | undefined;
  /** `OP_ID name` of groups' jobs. */
  readonly groups: ReadonlyMap<string, JobId>;
}

type Ledger = Pick<JobLedger, "onChange" | "caughtUp" | "getMany" | "ids">;

export class PendingJobs {
  readonly #ledger: Ledger;
  readonly #locks: Pick<LockManager, "list">;
  /** Jobs that are not over. */
  readonly #ids = new Set<JobId>();
  /** What was there before is not told to who listens from now on. */
  #isSurveyed = false;
  readonly #unsubscribe: () => void;

  constructor(parts: { readonly ledger: Ledger; readonly locks: Pick<LockManager, "list"> }) {
    this.#ledger = parts.ledger;
    this.#locks = parts.locks;
    this.#unsubscribe = parts.ledger.onChange(
      ({ id, status }) => {
        if (FINAL.has(status)) this.#ids.delete(id);
        else this.#ids.add(id);
      },
      () => this.#ids.clear(),
    );
  }

  close(): void {
    this.#unsubscribe();
  }

  /** As of now: every job that was accepted before this call is in it. @throws Unavailable */
  async look(view: ConfigView): Promise<PendingWork> {
    await this.#ledger.caughtUp();
    const work = {
      instances: new Map<string, JobId>(),
      nodes: new Map<string, JobId>(),
      groups: new Map<string, JobId>(),
      everything: undefined as JobId | undefined,
    };
    const ids = this.#isSurveyed ? [...this.#ids] : await this.#ledger.ids({ archived: false });
    for (let start = 0; start < ids.length; start += PAGE) {
      const page = ids.slice(start, start + PAGE);
      for (const [index, job] of (await this.#ledger.getMany(page)).entries()) {
        if (job === undefined || FINAL.has(job.status)) {
          this.#ids.delete(page[index] ?? 0);
          continue;
        }
        this.#ids.add(job.id);
        for (const { input, status } of job.opcodes) if (!FINAL.has(status)) noteOpcode(work, view, job.id, input);
      }
    }
    this.#isSurveyed = true;
    for (const { name, mode, owners, pending } of await this.#locks.list()) {
      // Who only reads, as verifications do, changes nothing.
      const owner = mode === "exclusive" ? owners[0] : pending.find((waiting) => waiting.mode === "exclusive")?.owner;
      if (owner !== undefined) noteLock(work, name, owner);
    }
    return work;
  }
}

interface Notes {
  readonly instances: Map<string, JobId>;
  readonly nodes: Map<string, JobId>;
  readonly groups: Map<string, JobId>;
  everything: JobId | undefined;
}

function noteOpcode(work: Notes, view: ConfigView, job: JobId, input: Readonly<Record<string, unknown>>): void {
  const named = (key: string): string | undefined => (typeof input[key] === "string" ? input[key] : undefined);
  const instance = named("instance_name");
  if (instance !== undefined) work.instances.set(view.findInstance(instance)?.name ?? instance, job);
  const node = named("node_name");
  const uuid = node === undefined ? undefined : view.findNode(node)?.uuid;
  if (uuid !== undefined) work.nodes.set(uuid, job);
  const group = named("group_name");
  if (group !== undefined) work.groups.set(`${input.OP_ID} ${group}`, job);
}

function noteLock(work: Notes, lock: string, owner: JobId): void {
  const slash = lock.indexOf("/");
  const [level, name] = [lock.slice(0, slash), lock.slice(slash + 1)];
  if (level === "cluster" || (level === "instance" && name === LOCKSET)) work.everything = owner;
  else if (level === "instance") work.instances.set(name, owner);
}

/** Submits jobs and never gives one up, and notes what it was told of each attempt. */
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Unavailable } from "@gannet/errors";
import { BullWakeQueue, type JobId, RedisJobLedger } from "@gannet/job-ledger";
import { parseOpcode, summaryOf } from "@gannet/opcodes";
import { silentLogger } from "@gannet/telemetry";
import type { OneMachineCluster } from "../one-machine-cluster.ts";
import type { PlannedJob } from "./load.ts";

const PAUSE_MS = 100;
/** Like so many clients at once. */
const AT_ONCE = 8;

type Outcome =
  | { readonly accepted: JobId }
  /** Nothing was submitted, and the client was told why. */
  | { readonly refused: string }
  /** Nobody listened. */
  | { readonly unreachable: true }
  /** It may have been submitted. */
  | { readonly answerLost: true };

export class SubmittingClient {
  /** Every job that the cluster has said it has, with its kind. */
  readonly accepted = new Map<JobId, string>();
  refused = 0;
  unreachable = 0;
  answersLost = 0;
  /** Reasons of refusals, each once. */
  readonly reasons = new Set<string>();
  readonly ledger: RedisJobLedger;
  readonly #cluster: OneMachineCluster;
  readonly #queue: BullWakeQueue;

  constructor(cluster: OneMachineCluster) {
    const address = { kind: "socket", path: path.join(cluster.stateDir, "redis/redis.sock") } as const;
    const logger = silentLogger();
    this.#cluster = cluster;
    this.#queue = new BullWakeQueue({ address, name: "load", readyJobs: () => this.ledger.readyJobs(), logger });
    this.ledger = new RedisJobLedger({ address, name: "load", wakeQueue: this.#queue, logger });
  }

  /** Resolves when all have been accepted. */
  async submitAll(jobs: readonly PlannedJob[]): Promise<void> {
    const left = [...jobs];
    const one = async () => {
      for (let job = left.shift(); job !== undefined; job = left.shift()) await this.submit(job);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }

  /** Again and again until it is accepted. */
  async submit(job: PlannedJob): Promise<JobId> {
    for (;;) {
      const outcome = job.via === "rapi" ? await this.#request(job) : await this.#submitToLedger(job);
      if ("accepted" in outcome) {
        this.accepted.set(outcome.accepted, job.kind);
        return outcome.accepted;
      }
      if ("refused" in outcome) this.#noteRefusal(outcome.refused);
      else if ("unreachable" in outcome) this.unreachable += 1;
      else this.answersLost += 1;
      await delay(PAUSE_MS);
    }
  }

  async close(): Promise<void> {
    await this.ledger.close();
    await this.#queue.close();
  }

  async #request({ method, resource, body }: PlannedJob & { readonly via: "rapi" }): Promise<Outcome> {
    const answer = await this.#cluster
      .rapi(method, resource, body === undefined ? {} : { body })
      .catch((error: NodeJS.ErrnoException) => error);
    if (answer instanceof Error) return answer.code === "ECONNREFUSED" ? { unreachable: true } : { answerLost: true };
    if (answer.status === 200 && typeof answer.body === "number") return { accepted: answer.body };
    const { message } = answer.body as { message?: unknown };
    if (answer.status === 503 && typeof message === "string" && message !== "") return { refused: message };
    throw new Error(`${method} ${resource} was answered with ${answer.status} ${JSON.stringify(answer.body)}`);
  }

  async #submitToLedger({ opcodes }: PlannedJob & { readonly via: "ledger" }): Promise<Outcome> {
    const parsed = opcodes.map((input) => {
      const { declaration, op } = parseOpcode({ ...input, OP_ID: String(input.OP_ID) });
      return { input: { OP_ID: declaration.id, ...op }, summary: summaryOf(declaration, op) };
    });
    try {
      const [id] = await this.ledger.submit([{ opcodes: parsed, requester: "load" }]);
      if (id === undefined) throw new Error("the ledger answered no id");
      return { accepted: id };
    } catch (error) {
      if (error instanceof Unavailable) return { refused: error.message };
      throw error;
    }
  }

  #noteRefusal(reason: string): void {
    this.refused += 1;
    this.reasons.add(reason);
  }
}

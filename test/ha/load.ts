/** Clients that start and stop guests without a pause, at whichever master answers, and give no request up. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { executedTwice } from "../faults/verdict.ts";
import { type HaCluster, until } from "./ha-cluster.ts";
import type { Machine } from "./machine.ts";

interface Accepted {
  readonly id: number;
  /** When its first attempt began, by the monotonic clock. */
  readonly askedMs: number;
}

interface Job {
  readonly status: string;
  readonly opresult: readonly unknown[];
}

const GUESTS = 4;
const PAUSE_MS = 30;
const FINAL: ReadonlySet<string> = new Set(["success", "error", "canceled"]);
/** Jobs that a client asks for before the first of them is over: a slow machine is not kept busy with older ones. */
const AHEAD = 4;
const DRAIN_MS = 120_000;

export class Load {
  /** Every job that a master has said it has. */
  readonly accepted: Accepted[] = [];
  /** Attempts that were refused or not answered. */
  failedAttempts = 0;
  readonly #cluster: HaCluster;
  readonly #prefix: string;
  readonly #stop = new AbortController();
  #clients: readonly Promise<void>[] = [];
  /** Guests are there from now on. */
  #among: readonly Machine[];

  private constructor(cluster: HaCluster) {
    this.#cluster = cluster;
    this.#among = cluster.machines;
    cluster.over.addEventListener("abort", () => this.#stop.abort());
    this.#prefix = `load${Math.floor(performance.now())}`;
  }

  /** @param nodes - on which its guests are */
  static async begin(cluster: HaCluster, nodes: readonly Machine[] = cluster.machines): Promise<Load> {
    const load = new Load(cluster);
    const ids: number[] = [];
    for (let guest = 0; guest < GUESTS; guest++) {
      const body = {
        ...{ __version__: 1, mode: "create", instance_name: load.#guest(guest), disk_template: "diskless" },
        ...{ disks: [], nics: [], os_type: "noop", pnode: nodes[guest % nodes.length]?.name, start: false },
        beparams: { memory: 16 },
      };
      ids.push(await load.#insist("POST", "/2/instances", body));
    }
    await load.drained(ids);
    for (const id of ids) {
      const { status, opresult } = await load.#job(id);
      if (status !== "success") throw new Error(`a guest was not made: ${JSON.stringify(opresult)}`);
    }
    load.#clients = Array.from({ length: GUESTS }, (_, guest) => load.#client(load.#guest(guest)));
    // Whoever ends the load is told.
    for (const client of load.#clients) client.catch(() => undefined);
    return load;
  }

  /** From now on the clients ask these masters only. */
  askOnly(among: readonly Machine[]): void {
    this.#among = among;
  }

  /** Milliseconds after `sinceMs` until a job that was asked for after it had succeeded. */
  async firstSuccessAfter(sinceMs: number): Promise<number> {
    let firstMs = 0;
    await until("a job that was asked for afterwards succeeds", async () => {
      for (const { id, askedMs } of this.accepted.filter((each) => each.askedMs >= sinceMs)) {
        const { status } = await this.#job(id);
        if (status !== "success") continue;
        firstMs = performance.now() - sinceMs;
        return askedMs >= sinceMs;
      }
      return false;
    });
    return firstMs;
  }

  /** No more requests; resolves when the last is answered. */
  async end(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#clients);
  }

  /** Wait until those jobs, or all, are over. */
  async drained(ids: readonly number[] = this.accepted.map(({ id }) => id)): Promise<void> {
    const left = new Set(ids);
    await until(
      "every job is over",
      async () => {
        for (const id of left) {
          const { status } = await this.#job(id);
          if (!FINAL.has(status)) return false;
          left.delete(id);
        }
        return true;
      },
      DRAIN_MS,
    );
  }

  /** No more requests; resolves when every job that was accepted is over. */
  async settle(): Promise<void> {
    await this.end();
    await this.drained();
  }

  /**
   * Of all that was accepted, once it is over: nothing was lost, and nothing was done twice.
   * @returns figures
   * @throws AssertionError naming what was
   */
  async proof(): Promise<{
    readonly accepted: number;
    readonly lost: number;
    readonly "double starts": number;
  }> {
    const lost: string[] = [];
    for (const { id } of this.accepted) {
      const status = await this.#job(id).then(
        (job) => job.status,
        (error: unknown) => String(error),
      );
      if (!FINAL.has(status)) lost.push(`job ${id}: ${status}`);
    }
    const executions = await Promise.all(
      this.#cluster.machines.map(async (machine) =>
        (await machine.executions()).map((each) => ({ ...each, node: machine.name })),
      ),
    );
    const twice = executedTwice(executions.flat());
    assert.deepEqual([lost, twice], [[], []]);
    return { accepted: this.accepted.length, lost: lost.length, "double starts": twice.length };
  }

  /** Its guests are removed. */
  async cleanUp(): Promise<void> {
    const ids: number[] = [];
    for (let guest = 0; guest < GUESTS; guest++)
      ids.push(await this.#insist("DELETE", `/2/instances/${this.#guest(guest)}`, { shutdown_timeout: 0 }));
    await this.drained(ids);
  }

  #guest(number: number): string {
    return `${this.#prefix}-${number}.ha.test`;
  }

  async #client(guest: string): Promise<void> {
    const own: number[] = [];
    for (let round = 0; !this.#stop.signal.aborted; round++) {
      const verb = round % 2 === 0 ? "startup" : "shutdown";
      const askedMs = performance.now();
      const body = verb === "shutdown" ? { timeout: 0 } : undefined;
      const id = await this.#insist("PUT", `/2/instances/${guest}/${verb}`, body);
      this.accepted.push({ id, askedMs });
      own.push(id);
      await delay(PAUSE_MS);
      const oldest = own.length < AHEAD ? undefined : own.shift();
      if (oldest !== undefined) await this.#over(oldest);
    }
  }

  /** Or the load ends. */
  async #over(id: number): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const status = await this.#job(id).then(
        (job) => job.status,
        () => "",
      );
      if (FINAL.has(status)) return;
      await delay(PAUSE_MS);
    }
  }

  /** The same request, under the same key, at one master after another until one has it. */
  async #insist(method: string, resource: string, body?: unknown): Promise<number> {
    const key = randomUUID();
    for (let attempt = 0; ; attempt++) {
      const machine = this.#among[attempt % this.#among.length];
      if (machine === undefined) throw new Error("nobody to ask");
      const request = body === undefined ? { key } : { key, body };
      const answer = await this.#cluster.rapi(machine, method, resource, request).catch(() => undefined);
      if (answer?.status === 200 && typeof answer.body === "number") return answer.body;
      this.#cluster.over.throwIfAborted();
      if (answer !== undefined && answer.status < 500)
        throw new Error(`${method} ${resource}: ${answer.status} ${JSON.stringify(answer.body)}`);
      this.failedAttempts += 1;
      await delay(PAUSE_MS);
    }
  }

  async #job(id: number): Promise<Job> {
    let last = "";
    for (const machine of this.#among) {
      const answer = await this.#cluster.rapi(machine, "GET", `/2/jobs/${id}`).catch(() => undefined);
      if (answer?.status === 200) return answer.body as Job;
      last = answer === undefined ? "no answer" : `${answer.status}`;
    }
    throw new Error(`job ${id} cannot be read: ${last}`);
  }
}

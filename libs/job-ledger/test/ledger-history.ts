/**
 * Histories of the ledger and its locks: random verbs of clients and of executors that come and go, with requests and
 * answers lost on the way, compared step by step with the model and held against the promises.
 */
import { LockError, StaleEpoch, Unavailable } from "@gannet/errors";
import type { Beginning, FinalStatus, JobId, JobStatus } from "@gannet/job-ledger";
import { RedisLockManager } from "@gannet/locking";
import { connectRedis, EPOCH_KEY, type Redis } from "@gannet/redis";
import { type SeverableLink, severableLink, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { expect } from "vitest";
import { type LedgerFixture, newJob, openLedger } from "./ledger-fixture.ts";
import { isFinal, LedgerModel, type ModelLocks, type ModelOpcode, type Outcome, type Refusal } from "./ledger-model.ts";

const CLIENTS = 3;
const VERB = "eval";

/** What becomes of a running opcode when its job is carried on. */
type Ending = "success" | "error" | "not yet";

/** How far a new leader comes before it dies, too. */
type TakeOver = "done" | "half done" | "not begun";

/** What happens to a verb on its way. `kept back`: its repetition, for as long as other steps are taken. */
type Fault = "none" | "request lost" | "answer lost" | "answer lost, repetition kept back";

const X = (level: "instance" | "node", name: string) => ({ level, name, mode: "exclusive" }) as const;
const BIG = { level: "cluster", name: "BGL", mode: "shared" } as const;
/** What opcodes ask for. */
const LOCKS: readonly (ModelLocks | undefined)[] = [
  undefined,
  { wishes: [BIG] },
  { wishes: [BIG, X("instance", "a.test")] },
  { wishes: [BIG, X("instance", "a.test"), X("node", "n1")] },
  { wishes: [BIG, X("node", "n1")] },
  { wishes: [BIG, { level: "node", name: "n1", mode: "shared" }] },
  { wishes: [{ ...BIG, mode: "exclusive" }] },
  { wishes: [BIG], candidates: { levels: ["node"], names: ["n1", "n2"], mode: "exclusive", atLeast: 1 } },
];

const finalStatus = fc.constantFrom<FinalStatus>("success", "error", "canceled");
const depends = fc.array(fc.tuple(fc.integer({ min: -3, max: 9 }), fc.uniqueArray(finalStatus, { maxLength: 2 })), {
  minLength: 1,
  maxLength: 2,
});
const opcode = fc.record({
  priority: fc.constantFrom(-10, 0, 10),
  depends: fc.oneof(
    { weight: 3, arbitrary: fc.constant<[number, FinalStatus[]][]>([]) },
    { weight: 1, arbitrary: depends },
  ),
});
const jobs = fc.array(fc.array(opcode, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 });

const one = {
  client: fc.nat({ max: CLIENTS - 1 }),
  pick: fc.nat({ max: 7 }),
  fault: fc.oneof(
    { weight: 16, arbitrary: fc.constant<Fault>("none") },
    { weight: 1, arbitrary: fc.constant<Fault>("request lost") },
    { weight: 1, arbitrary: fc.constant<Fault>("answer lost") },
    { weight: 1, arbitrary: fc.constant<Fault>("answer lost, repetition kept back") },
  ),
};
const index = fc.nat({ max: 2 });
const simple = fc.constantFrom(
  "park",
  "succeed",
  "succeedSubmitting",
  "fail",
  "finishCancel",
  "pushUndo",
  "release one",
);
export const step = fc.oneof(
  {
    weight: 14,
    arbitrary: fc.record({
      kind: fc.constant("advance"),
      ...one,
      ending: fc.constantFrom<Ending>("success", "success", "error", "not yet", "not yet", "not yet"),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("submit"), ...one, jobs }) },
  { weight: 4, arbitrary: fc.record({ kind: simple, ...one }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("begin"), ...one, index, locks: fc.nat({ max: LOCKS.length - 1 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("cancel", "archive"), ...one }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("autoArchive"), ...one }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("changePriority"), ...one, priority: fc.constantFrom(-10, 0, 10) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("crash"),
      ...one,
      takeOver: fc.constantFrom<TakeOver>("done", "done", "half done", "not begun"),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("repeat"), ...one }) },
);
export type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type Simple = typeof simple extends fc.Arbitrary<infer T> ? T : never;

const FEW_JOBS = 20;

/** What an opcode of the job submits: one job that waits for it, and one that waits for that one. */
function followUps(id: JobId): ModelOpcode[][] {
  return [[{ priority: 0, depends: [[id, []]] }], [{ priority: 10, depends: [[-1, ["success"]]] }]];
}

/** A process' connections: to the ledger and the lock manager, over a link that fails when it is told to. */
interface Client {
  readonly link: SeverableLink;
  readonly fixture: LedgerFixture;
  readonly redis: Redis;
  readonly locks: RedisLockManager;
  /** Its token for each job that it has begun. */
  readonly claims: Map<JobId, number>;
  /** Carries on with the verb whose repetition is kept back. */
  goOn: (() => Promise<void>) | undefined;
}

/** What a verb does, for real and in the model. */
interface Verb<Answer> {
  readonly name: string;
  readonly real: () => Promise<Answer>;
  readonly model: (repeated: boolean) => Outcome<Answer | Refusal>;
  /** Done with an answer that this process got. */
  readonly answered?: (answer: Answer) => void;
  /** Clients' verbs are tried once, and the executor's until Redis has answered: some of them before anything else. */
  readonly patience?: "none" | "at once";
}

/** One database of a server, in which one history after another is tried. */
export class Lane {
  readonly reader: LedgerFixture;
  readonly redis: Redis;
  readonly locks: RedisLockManager;
  readonly #links: readonly SeverableLink[];
  #clients: readonly Client[] = [];
  #tokens = 0;

  private constructor(links: readonly [SeverableLink, ...SeverableLink[]]) {
    this.#links = links;
    const [sound] = links;
    this.reader = openLedger(sound);
    this.redis = connectRedis(sound.address, { name: "lane" });
    this.locks = new RedisLockManager(this.redis);
  }

  static async open(server: TestRedis, database: number): Promise<Lane> {
    const linkTo = (n: number) =>
      severableLink(server.address.path, `${server.address.path}.${database}.${n}`, { database });
    const sound = await linkTo(0);
    return new Lane([sound, ...(await Promise.all(Array.from({ length: CLIENTS }, (_, n) => linkTo(n + 1))))]);
  }

  get clients(): readonly Client[] {
    return this.#clients;
  }

  /** A word that no other call has. */
  newToken(): number {
    this.#tokens += 1;
    return this.#tokens;
  }

  /** Clients that know of nothing: none of them, and no failure, can come from the history before. */
  async renew(): Promise<void> {
    await this.#closeClients();
    for (const link of this.#links) link.restore();
    this.#clients = this.#links.slice(1).map((link) => {
      const redis = connectRedis(link.address, { name: "lane" });
      const locks = new RedisLockManager(redis);
      return { link, fixture: openLedger(link), redis, locks, claims: new Map(), goOn: undefined };
    });
    await this.redis.flushdb();
  }

  /** A script that the server does not know is sent twice: with that no loss would be where it is meant to be. */
  async teachScripts(): Promise<void> {
    const { ledger } = this.reader;
    const fence = { epoch: 1 };
    await this.redis.set(EPOCH_KEY, fence.epoch);
    await ledger.submit([newJob({}, {})]);
    await ledger.begin(1, 0, fence);
    await ledger.park(1, 0, fence);
    await ledger.begin(1, 0, fence, LOCKS[1]);
    await ledger.pushUndo(1, 0, { action: "undo", args: {} }, fence);
    await ledger.takeOver(fence);
    await ledger.succeed(1, 0, null, fence);
    await ledger.changePriority(1, 0);
    await ledger.begin(1, 1, fence);
    await ledger.fail(1, 1, ["OpExecError", [""]], fence);
    await ledger.finishCancel(1, fence);
    await ledger.cancel(1);
    await ledger.archive(1);
    await ledger.autoArchive(-1, 0);
    await ledger.readyJobs();
    await this.locks.release(1, "all", fence);
    await this.locks.retainOwners([], fence);
    await this.locks.list();
  }

  async close(): Promise<void> {
    await Promise.all([this.#closeClients(), this.reader.close()]);
    this.redis.disconnect();
    await Promise.all(this.#links.map((link) => link[Symbol.asyncDispose]()));
  }

  async #closeClients(): Promise<void> {
    for (const { redis } of this.#clients) redis.disconnect();
    await Promise.all(this.#clients.map(({ fixture }) => fixture.close()));
  }
}

export class LedgerHistory {
  readonly #lane: Lane;
  readonly #model = new LedgerModel();
  /** Whether the present leader has taken over and may run jobs. */
  #leads = true;
  /** By opcode, `<id>/<index>`, the token whose owner was told to run it and has not parked it since. */
  readonly #runners = new Map<string, number>();

  private constructor(lane: Lane) {
    this.#lane = lane;
  }

  static async begin(lane: Lane): Promise<LedgerHistory> {
    const history = new LedgerHistory(lane);
    await lane.renew();
    await lane.redis.set(EPOCH_KEY, history.#model.epoch);
    return history;
  }

  async take(step: Step): Promise<void> {
    if (step.kind === "submit") await this.#submit(step);
    else if (this.#model.jobs.size > 0) await this.#onJob(step, 1 + (step.pick % this.#model.jobs.size));
    await this.#compare(JSON.stringify(step));
  }

  /**
   * Whoever was cut off goes on, and then everything that can be done is done: with a new leader, or by the one there
   * is, who knows of jobs only what the ledger tells the sweeper.
   */
  async complete({ by }: { readonly by: "a new leader" | "the present leader" }): Promise<void> {
    for (const client of this.#lane.clients) await client.goOn?.();
    if (by === "a new leader" || !this.#leads) await this.#crash("done");
    await this.#compare("everybody went on");
    for (let before = ""; before !== this.#progress(); ) {
      before = this.#progress();
      for (const [id, job] of this.#model.jobs)
        if (!isFinal(job)) await this.#advance(id, { client: 0, fault: "none", ending: "success" });
    }
    await this.#compare("everything was done");
    expect([...this.#model.jobs].filter(([, job]) => !isFinal(job))).toEqual([]);
    await this.#checkEnds();
  }

  /** Changes with each step that carries something on. */
  #progress(): string {
    return JSON.stringify([...this.#model.jobs.values()].map(({ status, at, parked }) => [status, at, parked]));
  }

  async #onJob(step: Exclude<Step, { kind: "submit" }>, id: JobId): Promise<void> {
    const client = this.#free(step.client);
    switch (step.kind) {
      case "cancel":
        return await this.#do(client, step.fault, {
          name: "cancel",
          real: async () => (await client.fixture.ledger.cancel(id))[0],
          model: () => this.#model.cancel(id),
          patience: "none",
        });
      case "changePriority":
        return await this.#do(client, step.fault, {
          name: "changePriority",
          real: async () => (await client.fixture.ledger.changePriority(id, step.priority))[0],
          model: () => this.#model.changePriority(id, step.priority),
          patience: "none",
        });
      case "archive":
        return await this.#do(client, step.fault, {
          name: "archive",
          real: () => client.fixture.ledger.archive(id),
          model: () => this.#model.archive(id),
          patience: "none",
        });
      case "autoArchive":
        return await this.#do(client, "none", {
          name: "autoArchive",
          real: async () => (await client.fixture.ledger.autoArchive(-1, 60_000)).archived,
          model: () => this.#model.autoArchive(),
        });
      case "repeat":
        return await client.goOn?.();
      case "crash":
        return await this.#crash(step.takeOver);
      case "advance":
        if (this.#leads) await this.#advance(id, step);
        return;
      case "begin":
        if (this.#leads) await this.#begin(client, id, step.index, LOCKS[step.locks], step.fault);
        return;
      default:
        if (this.#leads) await this.#simple(step.kind, client, id, step.fault);
    }
  }

  async #submit({ client: number, jobs, fault }: Extract<Step, { kind: "submit" }>): Promise<void> {
    const client = this.#free(number);
    const token = this.#lane.newToken();
    const first = this.#model.nextId;
    const absolute = jobs.map((opcodes, position) =>
      opcodes.map(({ priority, depends }) => ({
        priority,
        depends: depends.map(([id, statuses]) => [id < 0 ? first + position + id : id, statuses] as const),
      })),
    );
    await this.#do<readonly JobId[] | "refused">(client, fault, {
      name: "submit",
      real: () =>
        client.fixture.ledger.submit(jobs.map((opcodes) => newJob(...opcodes))).catch((error: Error) => {
          if (error.message.startsWith("Dependency")) return "refused";
          throw error;
        }),
      model: () => this.#model.submit(token, absolute),
      patience: "at once",
    });
  }

  /** What the executor would do next with the job. */
  async #advance(
    id: JobId,
    { client: number, fault, ending }: Pick<Extract<Step, { kind: "advance" }>, "client" | "fault" | "ending">,
  ): Promise<void> {
    const job = this.#model.job(id);
    const client = this.#free(number);
    if (job.status === "canceling") await this.#simple("finishCancel", client, id, fault);
    else if (job.status === "running" && ending === "not yet") return;
    else if (job.status === "running")
      await this.#simple(ending === "success" ? this.#success(id) : "fail", client, id, fault);
    else if (this.#model.isReady(id)) await this.#beginAsExecutor(client, id, fault);
  }

  /** Every third job submits others, as long as there are few. */
  #success(id: JobId): Simple {
    return id % 3 === 0 && this.#model.jobs.size < FEW_JOBS ? "succeedSubmitting" : "succeed";
  }

  async #beginAsExecutor(client: Client, id: JobId, fault: Fault): Promise<void> {
    const { at } = this.#model.job(id);
    const locks = LOCKS[(7 * id + 3 * at) % LOCKS.length];
    if ((await this.#begin(client, id, at, locks, fault)) !== "locks") return;
    await this.#release(client, id, "all");
    await this.#begin(client, id, at, locks, "none");
  }

  async #begin(
    client: Client,
    id: JobId,
    index: number,
    locks: ModelLocks | undefined,
    fault: Fault,
  ): Promise<string | undefined> {
    const fence = { epoch: this.#model.epoch };
    const token = this.#lane.newToken();
    let refused: string | undefined;
    await this.#do<Beginning>(client, fault, {
      name: "begin",
      real: () => client.fixture.ledger.begin(id, index, fence, locks),
      model: () => {
        const outcome = this.#model.begin(id, index, token, locks);
        refused = outcome.answer;
        return outcome;
      },
      answered: (answer) => {
        if (answer !== "running") return;
        client.claims.set(id, token);
        this.#runs(id, index, token);
      },
    });
    return refused;
  }

  /** The promises at the moment at which somebody is told to run an opcode. */
  #runs(id: JobId, index: number, token: number): void {
    const job = this.#model.job(id);
    const opcode = `${id}/${index}`;
    const runner = this.#runners.get(opcode);
    expect(runner ?? token, `two run ${opcode}`).toBe(token);
    this.#runners.set(opcode, token);
    expect(index, "in order").toBe(job.at);
    for (const [dependency, accepted] of job.opcodes[index]?.depends ?? []) {
      const { status } = this.#model.job(dependency);
      if (accepted.length === 0) expect(["success", "error"]).toContain(status);
      else expect(accepted).toContain(status);
    }
  }

  async #simple(kind: Simple, client: Client, id: JobId, fault: Fault): Promise<void> {
    const fence = { epoch: this.#model.epoch };
    const { ledger } = client.fixture;
    const { at, undo, status } = this.#model.job(id);
    const claim = client.claims.get(id);
    const letGo = () => this.#letGo(client, id, claim);
    const done = (verb: Promise<void>) => verb.then(() => "done" as const);
    switch (kind) {
      case "park":
        return await this.#do(client, fault, {
          name: kind,
          real: () => done(ledger.park(id, at, fence)),
          model: () => {
            const outcome = this.#model.park(id, at, claim);
            if (outcome.answer === "done" && this.#model.job(id).status === "waiting")
              this.#runners.delete(`${id}/${at}`);
            return outcome;
          },
          answered: letGo,
        });
      case "succeed":
        return await this.#do(client, fault, {
          name: kind,
          real: () => done(ledger.succeed(id, at, { at }, fence)),
          model: () => this.#model.succeed(id, at),
          answered: letGo,
        });
      case "succeedSubmitting": {
        const jobs = followUps(id);
        return await this.#do<readonly JobId[] | Refusal>(client, fault, {
          name: kind,
          real: () =>
            ledger.succeedSubmitting(id, at, { jobs: jobs.map((opcodes) => newJob(...opcodes)), other: {} }, fence),
          model: () => this.#model.succeedSubmitting(id, at, jobs),
          answered: letGo,
        });
      }
      case "fail":
        return await this.#do(client, fault, {
          name: kind,
          real: () => done(ledger.fail(id, at, ["OpExecError", ["as asked"]], fence)),
          model: () => this.#model.fail(id, at),
          answered: letGo,
        });
      case "finishCancel":
        return await this.#do(client, fault, {
          name: kind,
          real: () => done(ledger.finishCancel(id, fence)),
          model: () => this.#model.finishCancel(id),
          answered: letGo,
        });
      case "pushUndo":
        return await this.#do(client, fault, {
          name: kind,
          real: () => done(ledger.pushUndo(id, at, { action: "undo", args: { n: undo } }, fence)),
          model: () => this.#model.pushUndo(id, at, undo + 1),
          patience: "at once",
        });
      case "release one": {
        const [held] = this.#model.locks.held(id);
        if (status === "running" && held !== undefined) await this.#release(client, id, [held], fault);
      }
    }
  }

  async #release(
    client: Client,
    id: JobId,
    what: Parameters<LedgerModel["release"]>[1],
    fault: Fault = "none",
  ): Promise<void> {
    const fence = { epoch: this.#model.epoch };
    await this.#do(client, fault, {
      name: "release",
      real: () => client.locks.release(id, what, fence),
      model: (repeated) => this.#model.release(id, what, repeated),
    });
  }

  /**
   * The leader is no more. The next one takes over, unless it dies before it has done so; what the old one still
   * sends is refused.
   */
  async #crash(takeOver: TakeOver): Promise<void> {
    const { locks, redis, reader } = this.#lane;
    const stale = { epoch: this.#model.epoch };
    this.#model.epoch += 1;
    this.#leads = takeOver === "done";
    const fence = { epoch: this.#model.epoch };
    await redis.set(EPOCH_KEY, fence.epoch);
    await expect(reader.ledger.begin(1, 0, stale)).rejects.toThrow(StaleEpoch);
    await expect(locks.release(1, "all", stale)).rejects.toThrow(StaleEpoch);
    if (takeOver === "not begun") return;
    const leftovers = await reader.ledger.takeOver(fence);
    expect(leftovers.map(({ job, opcodeIndex, undo }) => [job.id, opcodeIndex, undo.length])).toEqual(
      this.#model.takeOver().answer.map((id) => [id, this.#model.job(id).at, this.#model.job(id).undo]),
    );
    if (takeOver === "half done") return;
    const kept = leftovers.map(({ job }) => job.id);
    expect(await locks.retainOwners(kept, fence)).toEqual(this.#model.retainOwners(kept).answer);
    for (const { job, opcodeIndex } of leftovers) {
      await reader.ledger.fail(job.id, opcodeIndex, ["OpExecError", ["the master stopped"]], fence);
      this.#model.fail(job.id, opcodeIndex);
    }
    reader.takeWakes();
  }

  /** Do a verb for real and in the model, with what goes wrong on its way, and compare what comes of it. */
  async #do<Answer>(client: Client, fault: Fault, verb: Verb<Answer>): Promise<void> {
    if (client.goOn !== undefined) return;
    const { epoch } = this.#model;
    const model = (repeated: boolean): Outcome<unknown> =>
      this.#model.epoch === epoch ? verb.model(repeated) : { answer: "stale", woken: [] };
    const settle = async (real: Promise<unknown>, repeated: boolean) => {
      const got = await real;
      const { answer, woken } = model(repeated);
      expect(got, verb.name).toEqual(answer);
      expect(client.fixture.takeWakes().toSorted(byId), `woken by ${verb.name}`).toEqual(woken.toSorted(byId));
      if (got !== "wrong" && got !== "locks" && got !== "stale") verb.answered?.(got as Answer);
    };
    if (fault === "none") return await settle(told(verb.real()), false);

    const { link } = client;
    if (fault === "request lost") {
      const lost = link.loseRequest(VERB);
      const real = told(verb.real());
      await lost;
      if (verb.patience === "none") expect(await real).toBe("unavailable");
      else await settle(real, false);
      return;
    }
    const isKeptBack = fault === "answer lost, repetition kept back" && verb.patience === undefined;
    const lost = link.loseAnswerTo(VERB, isKeptBack ? "sever" : undefined);
    const real = told(verb.real());
    await lost;
    // It was carried out, and nobody knows.
    model(false);
    if (verb.patience === "none") expect(await real).toBe("unavailable");
    else if (!isKeptBack) await settle(real, true);
    else
      client.goOn = async () => {
        client.goOn = undefined;
        link.restore();
        await settle(real, true);
      };
  }

  /** A client that is not cut off, from this one on; the last resort is to let one go on. */
  #free(number: number): Client {
    const { clients } = this.#lane;
    const inTurn = [...clients.slice(number), ...clients.slice(0, number)];
    const client = inTurn.find(({ goOn }) => goOn === undefined) ?? inTurn[0];
    if (client === undefined) throw new Error("a lane has no clients");
    return client;
  }

  #letGo(client: Client, id: JobId, claim: number | undefined): void {
    if (client.claims.get(id) === claim) client.claims.delete(id);
  }

  /** Everything that can be seen. */
  async #compare(after: string): Promise<void> {
    const { reader, locks } = this.#lane;
    const model = this.#model;
    const [jobs, readyJobs, counts, lockInfos] = await Promise.all([
      reader.ledger.getMany([...model.jobs.keys()]),
      reader.ledger.readyJobs(),
      reader.ledger.counts(),
      locks.list(),
    ]);
    const seen = {
      jobs: jobs.map((job) => [
        job?.id,
        job?.status,
        job?.archived,
        job?.opcodes.map((one) => [one.status, one.priority, one.endTimestamp !== null && one.result !== null]),
      ]),
      ready: readyJobs,
      counts: Object.fromEntries(Object.entries(counts).filter(([, n]) => n !== 0)),
      held: lockInfos.flatMap(({ name, owners }) => owners.map((owner) => `${owner} has ${name}`)).sort(),
      waiting: lockInfos.map(({ name, pending }) => [name, pending.map(({ owner }) => owner)]),
    };
    const live = [...model.jobs.values()].filter((job) => !job.archived);
    const expected: Readonly<Record<keyof typeof seen, unknown>> = {
      jobs: [...model.jobs].map(([id, job]) => [id, job.status, job.archived, opcodesOf(job)]),
      ready: [...model.jobs]
        .filter(([id]) => model.isReady(id))
        .map(([id, { opcodes, at }]) => ({ id, priority: Math.min(...opcodes.slice(at).map((one) => one.priority)) }))
        .sort((a, b) => a.priority - b.priority || a.id - b.id),
      counts: countBy(live.map(({ status }) => status)),
      held: [...model.jobs.keys()]
        .flatMap((id) => model.locks.held(id).map(({ level, name }) => `${id} has ${level}/${name}`))
        .sort(),
      waiting: lockInfos.map(({ name, pending }) => {
        const owners = new Set(pending.map(({ owner }) => owner));
        return [name, model.locks.waiting().filter((owner) => owners.has(owner))];
      }),
    };
    expect(seen, after).toEqual(expected);
    const everybody = new Set(lockInfos.flatMap(({ pending }) => pending.map(({ owner }) => owner)));
    expect(everybody, after).toEqual(new Set(model.locks.waiting()));
  }

  async #checkEnds(): Promise<void> {
    const { redis } = this.#lane;
    expect((await redis.keys("gannet:lock:*")).filter((key) => key !== "gannet:lock:sequence")).toEqual([]);
    expect(await redis.keys("gannet:job:*:undo")).toEqual([]);
    expect(await redis.keys("gannet:jobs:dependants:*")).toEqual([]);
    // A final status is reached once; after it there is but the archive.
    const ends = new Map<string, string>();
    for (const [, [id = "", status = ""]] of await redis.xrange("gannet:jobs:changes", "-", "+")) {
      expect(ends.get(id) ?? status, `job ${id} came back from its end`).toBe(status);
      if (isFinal({ status: status as JobStatus })) ends.set(id, status);
    }
    expect(ends.size).toBe(this.#model.jobs.size);
  }
}

/** The answer, or the name of what it is refused with. */
async function told(verb: Promise<unknown>): Promise<unknown> {
  return await verb.catch((error: unknown) => {
    if (error instanceof LockError) return "locks";
    if (error instanceof StaleEpoch) return "stale";
    if (error instanceof Unavailable) return "unavailable";
    if (error instanceof Error && error.message.startsWith("cannot ")) return "wrong";
    throw error;
  });
}

function opcodesOf({ status, at, opcodes }: ReturnType<LedgerModel["job"]>) {
  return opcodes.map(({ priority }, index) => {
    if (index < at) return ["success", priority, true];
    const current = index === at;
    const later = !current && (status === "waiting" || status === "running");
    return [later ? "queued" : status, priority, current && status === "error"];
  });
}

function countBy(statuses: readonly JobStatus[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

function byId(a: JobId, b: JobId): number {
  return a - b;
}

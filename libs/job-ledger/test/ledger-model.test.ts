/** Random histories of the ledger, compared step by step with a small pure model of spec/jobs.json. */
import { OpPrereqError, StaleEpoch } from "@gannet/errors";
import type { FinalStatus, JobId, JobStatus, RedisJobLedger } from "@gannet/job-ledger";
import { startTestRedis, type TestRedis } from "@gannet/testing";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { becomeLeader, type LedgerFixture, newJob, openLedger } from "./ledger-fixture.ts";

const HISTORIES = 300;

type Depends = readonly (readonly [id: number, statuses: readonly FinalStatus[]])[];

interface ModelJob {
  status: JobStatus;
  /** Index of the first opcode that has not succeeded. */
  at: number;
  readonly depends: readonly Depends[];
  readonly priorities: number[];
  parked: boolean;
  archived: boolean;
  undo: number;
}

const FINAL: readonly JobStatus[] = ["canceled", "success", "error"];
const isFinal = (job: ModelJob) => FINAL.includes(job.status);

/** The ledger as the specification has it, without a thought for how. */
class Model {
  readonly jobs = new Map<JobId, ModelJob>();
  readonly woken: JobId[] = [];
  epoch = 1;

  /** What the current opcode of a queued job would find in its dependencies. */
  outlook(id: JobId): "go" | "wait" | "cancel" | "error" {
    const job = this.job(id);
    for (const [dependency, accepted] of job.depends[job.at] ?? []) {
      const other = dependency < id ? this.jobs.get(dependency) : undefined;
      if (other === undefined) return "error";
      if (!isFinal(other)) return "wait";
      const accepts = accepted.length === 0 ? other.status !== "canceled" : accepted.some((s) => s === other.status);
      if (!accepts) return other.status === "canceled" ? "cancel" : "error";
    }
    return "go";
  }

  job(id: JobId): ModelJob {
    const job = this.jobs.get(id);
    if (job === undefined) throw new Error(`the model has no job ${id}`);
    return job;
  }

  end(id: JobId, status: FinalStatus): void {
    this.job(id).status = status;
  }

  /** Queued jobs that wait for the end of another one, as far as a claim or the submission found out. */
  readonly blocked = new Map<JobId, JobId>();

  /** The dependency that a queued job waits for now. */
  waitsFor(id: JobId): JobId | undefined {
    if (this.outlook(id) !== "wait") return undefined;
    const job = this.job(id);
    return job.depends[job.at]?.map(([dependency]) => dependency).find((other) => !isFinal(this.job(other)));
  }
}

interface Real {
  readonly fixture: LedgerFixture;
  readonly ledger: RedisJobLedger;
}

/** One step: what it does to both, with its own comparison of the answers. */
class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string;
  readonly #run: (model: Model, real: Real) => Promise<void>;
  constructor(name: string, run: (model: Model, real: Real) => Promise<void>) {
    this.#name = name;
    this.#run = run;
  }
  check(): boolean {
    return true;
  }
  async run(model: Model, real: Real): Promise<void> {
    await this.#run(model, real);
    await compare(model, real);
  }
  toString(): string {
    return this.#name;
  }
}

/** A verb on one job, in both. */
type Verb = (id: JobId, model: Model, real: Real) => Promise<void>;

const fenceOf = (model: Model) => ({ epoch: model.epoch });

/** Whether a verb that needs the job in certain states is accepted, as the model expects. */
async function accepted(expected: boolean, call: Promise<unknown>): Promise<void> {
  if (expected) await call;
  else await expect(call).rejects.toThrow(/^cannot /);
}

const claim: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const claimed = await ledger.claim(id, fenceOf(model));
  if (job.status === "waiting" && job.parked) {
    job.parked = false;
    expect(claimed?.id).toBe(id);
    return;
  }
  const outlook = job.status === "queued" ? model.outlook(id) : undefined;
  if (outlook === "go") job.status = "waiting";
  else if (outlook === "wait") model.blocked.set(id, model.waitsFor(id) ?? 0);
  else if (outlook === "cancel") end(model, id, "canceled");
  else if (outlook === "error") end(model, id, "error");
  expect(claimed?.id).toBe(outlook === "go" ? id : undefined);
};

const begin =
  (index: number): Verb =>
  async (id, model, { ledger }) => {
    const job = model.job(id);
    const call = ledger.begin(id, index, fenceOf(model));
    if (job.at === index && (job.status === "canceling" || job.status === "canceled")) {
      expect(await call).toBe("canceled");
      if (job.status === "canceling") end(model, id, "canceled");
      return;
    }
    const runs = job.at === index && !job.parked && (job.status === "waiting" || job.status === "running");
    await accepted(runs, call);
    if (runs) job.status = "running";
  };

const park: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const quiet = job.status === "canceling" || job.status === "canceled";
  const works = job.status === "waiting" || (job.status === "running" && job.undo === 0);
  await accepted(quiet || works, ledger.park(id, job.at, fenceOf(model)));
  if (!works) return;
  job.status = "waiting";
  job.parked = true;
};

const succeed: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  await accepted(job.status === "running", ledger.succeed(id, job.at, { at: job.at }, fenceOf(model)));
  if (job.status !== "running") return;
  job.at += 1;
  job.undo = 0;
  if (job.at === job.priorities.length) end(model, id, "success");
  else job.status = "queued";
};

const fail: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const possible = ["waiting", "running", "canceling"].includes(job.status);
  const repeated = job.status === "error";
  await accepted(possible || repeated, ledger.fail(id, job.at, ["OpExecError", ["x"]], fenceOf(model)));
  if (possible) end(model, id, "error");
};

const finishCancel: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  await accepted(isFinal(job) || job.status === "canceling", ledger.finishCancel(id, fenceOf(model)));
  if (job.status === "canceling") end(model, id, "canceled");
};

const pushUndo: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const step = { action: "undo", args: { n: job.undo } };
  await accepted(job.status === "running", ledger.pushUndo(id, job.at, step, fenceOf(model)));
  if (job.status === "running") job.undo += 1;
};

const cancel: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const [answer] = await ledger.cancel(id);
  expect(answer).toBe(["queued", "waiting", "canceling"].includes(job.status));
  if (job.status === "queued") end(model, id, "canceled");
  else if (job.status === "waiting") job.status = "canceling";
};

const changePriority =
  (priority: number): Verb =>
  async (id, model, { ledger }) => {
    const job = model.job(id);
    const from = job.status === "running" ? job.at + 1 : job.at;
    const possible = !isFinal(job) && job.status !== "canceling" && from < job.priorities.length;
    const [answer] = await ledger.changePriority(id, priority);
    expect(answer).toBe(possible);
    if (possible) job.priorities.fill(priority, from);
  };

const archive: Verb = async (id, model, { ledger }) => {
  const job = model.job(id);
  const possible = isFinal(job) && !job.archived;
  expect(await ledger.archive(id)).toBe(possible);
  if (possible) job.archived = true;
};

/** What an executor would do next with the job. */
const advance: Verb = async (id, model, real) => {
  const job = model.job(id);
  if (job.status === "running") await succeed(id, model, real);
  else if (job.status === "waiting" && !job.parked) await begin(job.at)(id, model, real);
  else if (job.status === "canceling") await finishCancel(id, model, real);
  else await claim(id, model, real);
};

const finalStatus = fc.constantFrom<FinalStatus>("success", "error", "canceled");
const someDepends: fc.Arbitrary<Depends> = fc.array(
  fc.tuple(fc.integer({ min: -3, max: 9 }), fc.uniqueArray(finalStatus, { maxLength: 2 })),
  { minLength: 1, maxLength: 2 },
);
const noDepends: fc.Arbitrary<Depends> = fc.constant([]);
const opcode = fc.record({
  priority: fc.constantFrom(-10, 0, 10),
  depends: fc.oneof({ weight: 2, arbitrary: noDepends }, { weight: 1, arbitrary: someDepends }),
});
const newJobs = fc.array(fc.array(opcode, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 3 });
type NewJobs = typeof newJobs extends fc.Arbitrary<infer T> ? T : never;

async function submit(jobs: NewJobs, model: Model, { ledger }: Real): Promise<void> {
  const first = model.jobs.size + 1;
  const absolute = jobs.map((opcodes, position) =>
    opcodes.map(({ depends }) =>
      depends.map(([id, statuses]) => [id < 0 ? first + position + id : id, statuses] as const),
    ),
  );
  const submitted = ledger.submit(jobs.map((opcodes) => newJob(...opcodes)));
  if (absolute.flat(2).some(([id]) => id < 1)) {
    await expect(submitted).rejects.toThrow(OpPrereqError);
    return;
  }
  expect(await submitted).toEqual(jobs.map((_, position) => first + position));
  for (const [position, opcodes] of jobs.entries()) {
    const id = first + position;
    const priorities = opcodes.map(({ priority }) => priority);
    const depends = absolute[position] ?? [];
    model.jobs.set(id, { status: "queued", at: 0, depends, priorities, parked: false, archived: false, undo: 0 });
    const dependency = model.waitsFor(id);
    if (dependency === undefined) model.woken.push(id);
    else model.blocked.set(id, dependency);
  }
}

async function autoArchive(model: Model, { ledger }: Real): Promise<void> {
  const over = [...model.jobs.values()].filter((job) => isFinal(job) && !job.archived);
  expect(await ledger.autoArchive(-1, 60_000)).toEqual({ archived: over.length, left: 0 });
  for (const job of over) job.archived = true;
}

async function crashAndTakeOver(model: Model, { fixture, ledger }: Real): Promise<void> {
  const stale = fenceOf(model);
  model.epoch += 1;
  await becomeLeader(server, fenceOf(model));
  await expect(ledger.claim(1, stale)).rejects.toThrow(StaleEpoch);
  const leftovers = await ledger.takeOver(fenceOf(model));
  const running = [...model.jobs].filter(([, job]) => job.status === "running");
  expect(leftovers.map(({ job, opcodeIndex, undo }) => [job.id, opcodeIndex, undo.length])).toEqual(
    running.map(([id, job]) => [id, job.at, job.undo]),
  );
  for (const [id, job] of model.jobs) {
    if (job.status === "canceling") end(model, id, "canceled");
    if (job.status === "waiting") job.status = "queued";
    job.parked = false;
  }
  // A take-over wakes nobody: the sweep at the new leader's start does.
  model.woken.length = 0;
  fixture.takeWakes();
}

/** A step on one of the jobs there are; nothing when there is none. */
function onJob(verbs: fc.Arbitrary<readonly [name: string, verb: Verb]>): fc.Arbitrary<Step> {
  return fc.tuple(fc.nat({ max: 7 }), verbs).map(
    ([pick, [name, verb]]) =>
      new Step(`${name}(#${pick})`, async (model, real) => {
        if (model.jobs.size > 0) await verb(1 + (pick % model.jobs.size), model, real);
      }),
  );
}

const advancing = onJob(fc.constant(["advance", advance]));
const steps: fc.Arbitrary<fc.AsyncCommand<Model, Real>>[] = [
  // As often as all the others together: jobs shall come to their ends.
  ...Array.from({ length: 12 }, () => advancing),
  ...Array.from({ length: 2 }, () =>
    newJobs.map((jobs) => new Step(`submit(${JSON.stringify(jobs)})`, (model, real) => submit(jobs, model, real))),
  ),
  onJob(fc.constant(["claim", claim])),
  onJob(fc.nat({ max: 2 }).map((index) => [`begin ${index}`, begin(index)])),
  onJob(fc.constant(["park", park])),
  onJob(fc.constantFrom<[string, Verb]>(["succeed", succeed], ["fail", fail])),
  onJob(fc.constantFrom<[string, Verb]>(["cancel", cancel], ["finishCancel", finishCancel])),
  onJob(fc.constant(["pushUndo", pushUndo])),
  onJob(fc.constantFrom(-10, 0, 10).map((priority) => [`changePriority ${priority}`, changePriority(priority)])),
  onJob(fc.constant(["archive", archive])),
  fc.constantFrom(new Step("autoArchive", autoArchive), new Step("crash and takeOver", crashAndTakeOver)),
];

function end(model: Model, id: JobId, status: FinalStatus): void {
  model.end(id, status);
  const job = model.job(id);
  job.parked = false;
  job.undo = 0;
  model.blocked.delete(id);
  for (const [dependant, dependency] of [...model.blocked].toSorted(([a], [b]) => a - b)) {
    if (dependency !== id) continue;
    model.blocked.delete(dependant);
    model.woken.push(dependant);
  }
}

/** Everything that can be seen of the ledger. */
async function compare(model: Model, { fixture, ledger }: Real): Promise<void> {
  const [jobs, readyJobs, counts] = await Promise.all([
    ledger.getMany([...model.jobs.keys()]),
    ledger.readyJobs(),
    ledger.counts(),
  ]);
  const seen = jobs.map((job) => [
    job?.id,
    job?.status,
    job?.archived,
    job?.opcodes.map((one) => [one.status, one.priority, one.endTimestamp !== null && one.result !== null]),
  ]);
  expect(seen).toEqual([...model.jobs].map(([id, job]) => [id, job.status, job.archived, opcodesOf(job)]));

  const queued = [...model.jobs].filter(([id, job]) => job.status === "queued" && !model.blocked.has(id));
  expect(readyJobs.toSorted((a, b) => a.id - b.id)).toEqual(
    queued.map(([id, job]) => ({ id, priority: Math.min(...job.priorities.slice(job.at)) })),
  );
  const live = [...model.jobs.values()].filter((job) => !job.archived);
  const present = Object.entries(counts).filter(([, n]) => n !== 0);
  expect(Object.fromEntries(present)).toEqual(countBy(live.map((job) => job.status)));
  expect(fixture.takeWakes()).toEqual(model.woken.splice(0));
}

function opcodesOf(job: ModelJob) {
  return job.priorities.map((priority, index) => {
    if (index < job.at) return ["success", priority, true];
    const current = index === job.at;
    const later = !current && (job.status === "waiting" || job.status === "running");
    return [later ? "queued" : job.status, priority, current && job.status === "error"];
  });
}

function countBy(statuses: readonly JobStatus[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const status of statuses) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

let server: TestRedis;
let fixture: LedgerFixture;
beforeAll(async () => {
  server = await startTestRedis();
  // Nothing crashes here, and without the disk there is time for more histories.
  await server.client.config("SET", "appendonly", "no");
  fixture = openLedger(server);
});
afterEach(() => fixture.close());
afterAll(() => server.stop());

test(`${HISTORIES} random histories do what the model does`, async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { maxCommands: 60, size: "max" }), async (history) => {
      await server.flush();
      fixture.takeWakes();
      await fc.asyncModelRun(async () => {
        const model = new Model();
        await becomeLeader(server, fenceOf(model));
        return { model, real: { fixture, ledger: fixture.ledger } };
      }, history);
      await nothingLeftBehind();
    }),
    { numRuns: HISTORIES },
  );
}, 300_000);

/** Helper keys exist only as long as their job is at the point that needs them. */
async function nothingLeftBehind(): Promise<void> {
  const jobs = [...(await fixture.ledger.list({})), ...(await fixture.ledger.list({ archived: true }))];
  const statuses = new Map(jobs.map((job) => [String(job.id), job.status]));
  for (const key of await server.client.keys("gannet:job:*:undo"))
    expect(statuses.get(key.split(":")[2] ?? "")).toBe("running");
  for (const key of await server.client.keys("gannet:jobs:dependants:*")) {
    expect(FINAL).not.toContain(statuses.get(key.split(":")[3] ?? ""));
    for (const id of await server.client.smembers(key)) expect(statuses.get(id)).toBe("queued");
  }
}

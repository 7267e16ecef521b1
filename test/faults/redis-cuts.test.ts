/**
 * The connection to Redis is cut at every single command of some jobs' lives, before it ran and after. Whatever was
 * cut, each job is over once and succeeded, nothing was done twice on the node, and nothing is left.
 */
import { readFile } from "node:fs/promises";
import type { JobId } from "@gannet/job-ledger";
import { parseOpcode, summaryOf } from "@gannet/opcodes";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Execution } from "../../services/node-agent/src/rpc/execution-log.ts";
import type { Cut } from "./cutting-proxy.ts";
import { type ExecutorFixture, startExecutorFixture } from "./executor-fixture.ts";
import { until } from "./fault-cluster.ts";

type Opcode = Readonly<Record<string, unknown>> & { readonly OP_ID: string };

const INSTANCE = "cut.gannet.test";
const FINAL = ["canceled", "error", "success"];
/** More commands than any of these jobs takes: a run that is never over is a defect. */
const MOST_COMMANDS = 400;
const OVER_TIMEOUT_MS = 15_000;
/**
 * How many turns in a row must come to the jobs' end without a cut before all commands have had theirs: how many
 * commands a job takes differs from turn to turn, since commands that fall due together are sent together.
 */
const TURNS_WITHOUT_CUT = 4;

let fixture: ExecutorFixture;
beforeAll(async () => {
  fixture = await startExecutorFixture();
});
afterAll(() => fixture[Symbol.asyncDispose]());

const CREATE = (): Opcode => ({
  OP_ID: "OP_INSTANCE_CREATE",
  instance_name: INSTANCE,
  mode: "create",
  disk_template: "diskless",
  disks: [],
  nics: [{}],
  os_type: "noop",
  pnode: fixture.nodeName,
  hypervisor: "fake",
  beparams: { memory: 16 },
  name_check: false,
  ip_check: false,
});
const REMOVE: Opcode = { OP_ID: "OP_INSTANCE_REMOVE", instance_name: INSTANCE, shutdown_timeout: 0 };
/** Holds the node's lock meanwhile. */
const DELAY = (): Opcode => ({
  OP_ID: "OP_TEST_DELAY",
  duration: 0.01,
  on_master: false,
  on_nodes: [fixture.nodeName],
  no_locks: false,
});
const TAGS: Opcode = { OP_ID: "OP_TAGS_SET", kind: "cluster", tags: ["cut"] };

interface Case {
  readonly name: string;
  /** Submitted one after another, each without waiting for the one before. */
  readonly jobs: () => readonly (readonly Opcode[])[];
  /** What takes the effect away again, without a cut. */
  readonly undo?: readonly Opcode[];
}

const CASES: readonly Case[] = [
  { name: "a wait, and another that waits for its lock", jobs: () => [[DELAY()], [DELAY()]] },
  { name: "two opcodes in one job, one of which changes the configuration", jobs: () => [[TAGS, DELAY()]] },
  { name: "the creation of an instance", jobs: () => [[CREATE()]], undo: [REMOVE] },
];

describe.each(CASES)("$name", ({ jobs, undo }) => {
  test.each<Cut>(["unsent", "unanswered"])(
    "with every command %s in its turn",
    async (cut) => {
      let cuts = 0;
      let without = 0;
      for (let n = 1; n < MOST_COMMANDS && without < TURNS_WITHOUT_CUT; n += 1) {
        fixture.proxy.arm(n, cut);
        const ids: JobId[] = [];
        for (const opcodes of jobs()) ids.push(await submit(opcodes));
        await over(ids);
        const victim = fixture.proxy.disarm();
        await checkEnds(ids, `command ${n}, ${victim ?? "none"}`);
        if (undo !== undefined) {
          const id = await submit(undo);
          await over([id]);
          await checkEnds([id], `what followed after command ${n}, ${victim ?? "none"}`);
        }
        expect(await fixture.direct.locks.list()).toEqual([]);
        expect(await fixture.hypervisor.list()).toEqual([]);
        if (victim === undefined) without += 1;
        else {
          without = 0;
          cuts += 1;
        }
      }
      console.log(`${cuts} cuts`);
      expect(cuts).toBeGreaterThan(10);
      expect(cuts).toBeLessThan(MOST_COMMANDS - 1);
      await nothingTwice();
    },
    120_000,
  );
});

async function submit(opcodes: readonly Opcode[]): Promise<JobId> {
  const parsed = opcodes.map((opcode) => {
    const { declaration, op } = parseOpcode(opcode);
    return { input: { OP_ID: declaration.id, ...op }, summary: summaryOf(declaration, op) };
  });
  const [id] = await fixture.ledger.submit([{ opcodes: parsed, requester: "test" }]);
  if (id === undefined) throw new Error("no id");
  return id;
}

async function over(ids: readonly JobId[]): Promise<void> {
  let statuses: readonly unknown[] = [];
  const ends = until(
    "all jobs are over",
    async () => {
      statuses = (await fixture.direct.ledger.getMany(ids)).map((job) => job?.status);
      return statuses.every((status) => FINAL.includes(String(status)));
    },
    OVER_TIMEOUT_MS,
  );
  await ends.catch(async (error: unknown) => {
    const locks = JSON.stringify(await fixture.direct.locks.list());
    throw new Error(`cut at "${fixture.proxy.disarm()}": jobs ${ids} are ${statuses}; locks: ${locks}`, {
      cause: error,
    });
  });
}

/** Each job has succeeded, and its end was announced once. */
async function checkEnds(ids: readonly JobId[], what: string): Promise<void> {
  for (const job of await fixture.direct.ledger.getMany(ids))
    expect({ what, status: job?.status, results: job?.opcodes.map(({ result }) => result) }).toMatchObject({
      status: "success",
    });
  const changes = await fixture.direct.client.xrange("gannet:jobs:changes", "-", "+");
  const ends = changes.flatMap(([, [id, status]]) => (FINAL.includes(String(status)) ? [Number(id)] : []));
  for (const id of ids) expect({ what, ends: ends.filter((end) => end === id).length }).toEqual({ what, ends: 1 });
}

async function nothingTwice(): Promise<void> {
  const lines = (await readFile(fixture.executionsFile, "utf8")).trimEnd().split("\n");
  const executions = lines
    .map((line) => JSON.parse(line) as Execution)
    .map(({ job, opcode, method, step }) => `${job}/${opcode} ${method} ${step}`);
  expect(executions.length).toBeGreaterThan(10);
  expect(executions.filter((execution, index) => executions.indexOf(execution) !== index)).toEqual([]);
}

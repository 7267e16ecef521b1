/** What a master that stands by takes while none leads: jobs, once enough of Redis' replicas have them. */
import { type RedisGroup, startRedisGroup } from "@gannet/testing";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { LeaderForwarding } from "../../src/rapi/leader-forwarding.ts";
import { type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

let group: RedisGroup;
let bed: RapiTestbed;

beforeAll(async () => {
  group = await startRedisGroup();
  const nobody = { current: async () => undefined };
  const forwarding = new LeaderForwarding({ election: nobody, self: "standby", ca: () => Buffer.alloc(0) });
  bed = await startRapiTestbed({ ledgerAddress: group.address, forwarding });
  bed.leads = false;
});
afterAll(async () => {
  await bed[Symbol.asyncDispose]();
  await group[Symbol.asyncDispose]();
});

const submit = (key: string) =>
  bed.call("PUT", "/2/instances/inst1.gnt.test/shutdown", { headers: { "Idempotency-Key": key } });

test("a job that is taken is on a replica's disk, and one that may be lost is not said to be taken", async () => {
  const taken = await vi.waitFor(async () => {
    const answer = await submit("first");
    expect(answer.status).toBe(200);
    return answer;
  }, 10_000);
  expect((await bed.ledger.get(Number(taken.json)))?.status).toBe("queued");

  const primary = await group.primary();
  const replicas = group.members.filter((member) => member !== primary);
  for (const { pid } of replicas) process.kill(pid, "SIGSTOP");
  try {
    const refused = await submit("second");
    expect(refused).toMatchObject({ status: 503, json: { message: expect.stringContaining("Not known whether") } });
  } finally {
    for (const { pid } of replicas) process.kill(pid, "SIGCONT");
  }
  // Asked again, it is the same job, or the one before has been taken back.
  const again = await vi.waitFor(async () => {
    const answer = await submit("second");
    expect(answer.status).toBe(200);
    return answer;
  }, 10_000);
  const queued = (await bed.ledger.list({})).filter(({ status }) => status === "queued");
  expect(queued.map(({ id }) => id)).toEqual([Number(taken.json), Number(again.json)]);
});

test("what is no job waits for a leader", async () => {
  for (const [method, path] of [
    ["POST", "/2/filters"],
    ["DELETE", "/2/jobs/1"],
    ["PUT", "/2/queue"],
  ] as const) {
    const { status, headers } = await bed.call(method, path, { json: {} });
    expect(status).toBe(503);
    expect(headers["retry-after"]).toBe("2");
  }
});

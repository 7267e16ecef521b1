/** A node that is cut off stops its guests by itself: the agent over mutual TLS, on a clock that the test moves. */
import path from "node:path";
import { OpPrereqError, StaleEpoch } from "@gannet/errors";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { FenceFile } from "../../src/self-fence/fence-file.ts";
import {
  createTestCluster,
  guestState,
  instance,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";

const TIMEOUT_MS = 10_000;
const GUEST = instance().name;

let cluster: TestCluster;
let agent: TestAgent;
let file: FenceFile;
let nowMs: number;
/** Whether the process beside the agent runs. */
let watched: boolean;
let round = 0;
beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  nowMs = 1_000_000;
  watched = true;
  round += 1;
  agent = await start();
});
afterEach(() => agent.stop());

/** The agent, started anew with what it had written down. */
async function start(): Promise<TestAgent> {
  file = new FenceFile(cluster.root);
  const leadersFolder = path.join(cluster.root, `leaders-${round}`);
  const started = await startTestAgent(cluster, {
    leadersFolder,
    selfFence: { file, watchman: async () => watched, stopWithinMs: 3_000, clock: () => nowMs },
  });
  started.hypervisor.guests.set(GUEST, guestState(GUEST));
  return started;
}

const renew = (ticket: string, { epoch = 1, timeoutMs = TIMEOUT_MS } = {}) =>
  agent.client.node.renewSelfFence({ epoch, timeoutMs, ticket });

async function arm(): Promise<string> {
  const { ticket } = await renew("");
  return (await renew(ticket)).ticket;
}

const startGuest = () => agent.client.instances.start({ step: step(), instance: instance(), paused: false });
const guests = () => [...agent.hypervisor.guests.keys()];
const stopped = () => vi.waitFor(() => expect(guests()).toEqual([]), { timeout: 5_000 });

afterEach(() => file.remove());

test("guards itself from when a ticket comes back, and stops its guests when none has for the time", async () => {
  const first = await renew("");
  expect(first).toMatchObject({ guarded: false, stopWithinMs: 3_000 });
  expect(await file.read()).toBeUndefined();
  nowMs += 4_000;
  // From when it was given.
  expect(await renew(first.ticket)).toMatchObject({ guarded: true });
  expect(await file.read()).toMatchObject({ deadlineMs: 1_000_000 + TIMEOUT_MS, agentPid: process.pid });
  nowMs += 5_999;
  await startGuest();
  expect(agent.hypervisor.stop).not.toHaveBeenCalled();
  nowMs += 1;
  await stopped();
  expect(agent.hypervisor.stop).toHaveBeenCalledWith(
    GUEST,
    { force: true, timeoutMs: 0, killGraceMs: 5_000 },
    expect.anything(),
  );
  await vi.waitFor(async () => expect((await file.read())?.fencedMs).toBe(1_000_000 + TIMEOUT_MS));
});

test("starts nothing then, and kills what was started nevertheless, until a leader renews it with a new ticket", async () => {
  const late = await arm();
  nowMs += TIMEOUT_MS;
  await stopped();
  await expect(startGuest()).rejects.toThrow(OpPrereqError);
  await expect(
    agent.client.instances.reboot({ step: step(), name: GUEST, hypervisor: "fake", force: true, timeoutMs: 0 }),
  ).rejects.toThrow(/may run elsewhere/);
  expect(agent.hypervisor.start).not.toHaveBeenCalled();
  agent.hypervisor.guests.set(GUEST, guestState(GUEST));
  nowMs += 5_000;
  await stopped();
  // A request that was long on its way.
  const answer = await renew(late);
  expect(answer.guarded).toBe(false);
  await expect(startGuest()).rejects.toThrow(/may run elsewhere/);
  expect(await renew(answer.ticket)).toMatchObject({ guarded: true });
  await startGuest();
  expect(guests()).toEqual([GUEST]);
});

test("keeps its deadline when its agent is started again", async () => {
  await arm();
  await agent.stop();
  nowMs += TIMEOUT_MS - 1;
  agent = await start();
  await startGuest();
  nowMs += 1;
  await stopped();
});

test("starts nothing after a boot before a leader has renewed it", async () => {
  await arm();
  const state = await file.read();
  await agent.stop();
  await file.write({ ...(state ?? ({} as never)), bootId: "the boot before" });
  nowMs = 5_000;
  agent = await start();
  await expect(startGuest()).rejects.toThrow(/may run elsewhere/);
  await arm();
  await startGuest();
});

test("does not say that it guards itself while the process beside its agent does not run", async () => {
  watched = false;
  const ticket = await arm();
  expect(await renew(ticket)).toMatchObject({ guarded: false });
  watched = true;
  expect((await renew(ticket)).guarded).toBe(true);
});

test("ends its guard when it is told to, also after its time is over", async () => {
  await arm();
  nowMs += TIMEOUT_MS;
  await stopped();
  expect(await renew("", { timeoutMs: 0 })).toMatchObject({ guarded: false, ticket: "" });
  expect(await file.read()).toBeUndefined();
  await startGuest();
  nowMs += 100_000;
  expect(guests()).toEqual([GUEST]);
});

test("is not renewed by a leader that was replaced", async () => {
  const ticket = await arm();
  await renew("", { epoch: 2 });
  await expect(renew(ticket, { epoch: 1 })).rejects.toThrow(StaleEpoch);
});

test("tries again to stop a guest that could not be", async () => {
  agent.hypervisor.stop.mockRejectedValueOnce(new Error("not now"));
  await arm();
  nowMs += TIMEOUT_MS;
  await stopped();
  expect(agent.hypervisor.stop.mock.calls.length).toBeGreaterThan(1);
});

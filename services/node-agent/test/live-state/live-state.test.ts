import path from "node:path";
import { setTimeout } from "node:timers/promises";
import type { StorageSpace } from "@gannet/driver-contract";
import { HypervisorError, StaleEpoch } from "@gannet/errors";
import { type LiveStateUpdate, OBSERVER_EPOCH } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { isGuestNews, isNodeNews } from "../../src/live-state/differences.ts";
import { LiveState } from "../../src/live-state/live-state.ts";
import { NodeFacts } from "../../src/node-facts/node-facts.ts";
import {
  createTestCluster,
  guestState,
  instance,
  NODE,
  startTestAgent,
  step,
  type TestAgent,
  type TestCluster,
} from "../agent-fixture.ts";

let cluster: TestCluster;
let agent: TestAgent;
let runs = 0;

beforeAll(async () => {
  cluster = await createTestCluster();
});
afterAll(() => cluster.remove());
beforeEach(async () => {
  runs += 1;
  const leadersFolder = path.join(cluster.root, `leaders-${runs}`);
  agent = await startTestAgent(cluster, { leadersFolder, lookIntervalMs: 50 });
});
afterEach(() => agent.stop());

/** Reads a stream as it comes; node updates, which this machine's memory causes at any time, are left out. */
class Stream {
  readonly received: NonNullable<LiveStateUpdate["update"]>[] = [];
  readonly #abort = new AbortController();
  readonly ended: Promise<unknown>;

  constructor(epoch: number, heartbeatMs = 60_000) {
    this.ended = this.#read(epoch, heartbeatMs).then(
      () => "ended",
      (error: unknown) => error,
    );
  }

  async #read(epoch: number, heartbeatMs: number): Promise<void> {
    const updates = agent.client.node.watch({ epoch, heartbeatMs }, { signal: this.#abort.signal });
    for await (const { update } of updates)
      if (update !== undefined && update.$case !== "node") this.received.push(update);
  }

  async until(count: number): Promise<void> {
    await vi.waitFor(() => expect(this.received.length).toBeGreaterThanOrEqual(count), { timeout: 5_000, interval: 5 });
  }

  async leave(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }
}

test("a stream begins with everything", async () => {
  agent.hypervisor.guests.set("web1", guestState("web1"));
  agent.os.diagnose.mockResolvedValue([
    {
      name: "noop",
      path: "/os/noop",
      valid: true,
      problem: "",
      variants: ["a"],
      parameters: [{ name: "p", help: "h" }],
      apiVersions: [20],
      trusted: true,
    },
  ]);
  const stream = new Stream(1);
  await stream.until(1);
  expect(stream.received[0]).toMatchObject({
    $case: "snapshot",
    value: {
      node: {
        nodeName: NODE,
        storage: [{ type: "file", name: "/srv/ganeti/file-storage", totalMib: 1000, freeMib: 600 }],
        hypervisors: [{ name: "fake", version: "1", problem: "" }],
      },
      instances: [guestState("web1")],
      os: [{ name: "noop", variants: ["a"], parameters: [{ name: "p", help: "h" }], apiVersions: [20] }],
    },
  });
  await stream.leave();
});

test("what a driver notices is told at once, what it does not notice at the next look", async () => {
  const stream = new Stream(1);
  await stream.until(1);
  agent.hypervisor.notice("web1", guestState("web1"));
  await stream.until(2);
  agent.hypervisor.guests.set("web1", guestState("web1", { status: "paused" }));
  await stream.until(3);
  agent.hypervisor.guests.delete("web1");
  await stream.until(4);
  expect(stream.received.slice(1)).toMatchObject([
    { $case: "instance", value: guestState("web1") },
    { $case: "instance", value: guestState("web1", { status: "paused" }) },
    { $case: "instanceGone", value: { name: "web1" } },
  ]);
  await stream.leave();
});

test("an operation's change is told without waiting for a look", async () => {
  await agent.stop();
  agent = await startTestAgent(cluster, { leadersFolder: agent.leadersFolder, lookIntervalMs: 3_600_000 });
  const stream = new Stream(1);
  await stream.until(1);
  await agent.client.instances.start({ step: step(), instance: instance({ disks: [] }), paused: false });
  await stream.until(2);
  await agent.client.instances.stop({
    step: step(),
    name: "web1.gannet.test",
    hypervisor: "fake",
    force: true,
    timeoutMs: 0,
  });
  await stream.until(3);
  expect(stream.received.slice(1).map(({ $case }) => $case)).toEqual(["instance", "instanceGone"]);
  await stream.leave();
});

test("of an operation's answer and what the stream tells, the later is known by its time", async () => {
  await agent.stop();
  agent = await startTestAgent(cluster, { leadersFolder: agent.leadersFolder, lookIntervalMs: 3_600_000 });
  const stream = new Stream(1);
  await stream.until(1);
  const [snapshot] = stream.received;
  const start = { step: step(), instance: instance({ disks: [] }), paused: false };
  const started = await agent.client.instances.start(start);
  await stream.until(2);
  // Nothing has changed, but a master may have put aside what it was told while this went on.
  agent.hypervisor.reboot.mockResolvedValue(guestState(started.name));
  const reboot = { step: step(), name: started.name, hypervisor: "fake", force: true, timeoutMs: 0 };
  const rebooted = await agent.client.instances.reboot(reboot);
  await stream.until(3);
  const gone = await agent.client.instances.stop({ ...reboot, step: step() });
  await stream.until(4);
  const times = [snapshot, started, stream.received[1], rebooted, stream.received[2], gone, stream.received[3]].map(
    (told) => (told !== undefined && "value" in told ? told.value : told) as { readonly asOfMs: number },
  );
  const inOrder = times.map(({ asOfMs }) => asOfMs);
  expect(inOrder).toEqual(inOrder.toSorted((a, b) => a - b));
  expect(new Set(inOrder).size).toBe(times.length);
  // Given again, the answer has its time.
  expect(await agent.client.instances.start(start)).toEqual(started);
  await stream.leave();
});

test("who watches already is told what another's beginning has found, and not everything once more", async () => {
  const leader = new Stream(1);
  await leader.until(1);
  agent.hypervisor.guests.set("web1", guestState("web1"));
  const observer = new Stream(OBSERVER_EPOCH);
  await observer.until(1);
  expect(observer.received[0]).toMatchObject({ $case: "snapshot", value: { instances: [{ name: "web1" }] } });
  await leader.until(2);
  expect(leader.received.slice(1).map(({ $case }) => $case)).toEqual(["instance"]);
  await Promise.all([leader.leave(), observer.leave()]);
});

test("a silent stream beats", async () => {
  const stream = new Stream(1, 50);
  await stream.until(4);
  expect(stream.received.slice(1, 4).map(({ $case }) => $case)).toEqual(["heartbeat", "heartbeat", "heartbeat"]);
  await stream.leave();
});

test("a new leader's stream ends the old one's; the same leader's second stream ends its first", async () => {
  const first = new Stream(1);
  await first.until(1);
  const again = new Stream(1);
  await again.until(1);
  expect(await first.ended).toBe("ended");
  const newer = new Stream(2);
  await newer.until(1);
  expect(await again.ended).toBeInstanceOf(StaleEpoch);
  agent.hypervisor.notice("web1", guestState("web1"));
  await newer.until(2);
  await newer.leave();
});

test("guests that cannot be listed are not told of as gone, and a snapshot without them is not given", async () => {
  agent.hypervisor.guests.set("web1", guestState("web1"));
  const stream = new Stream(1);
  await stream.until(1);
  agent.hypervisor.list.mockRejectedValue(new HypervisorError("xl does not answer"));
  await vi.waitFor(() => expect(agent.hypervisor.list.mock.calls.length).toBeGreaterThan(3));
  expect(stream.received).toHaveLength(1);
  await stream.leave();

  const blind = new Stream(1);
  expect(await blind.ended).toBeInstanceOf(HypervisorError);
  expect(blind.received).toEqual([]);
});

test("guests' news are told while the node's facts hang; a snapshot waits for them", async () => {
  const hanging = Promise.withResolvers<readonly StorageSpace[]>();
  const facts = new NodeFacts({
    nodeName: NODE,
    hypervisors: new Map([["fake", agent.hypervisor]]),
    blockDevices: [agent.disks],
    spindles: async () => [],
    logger: silentLogger(),
  });
  const state = new LiveState({
    ...{ hypervisors: new Map([["fake", agent.hypervisor]]), facts, logger: silentLogger() },
    ...{ diagnoseOs: async () => [], intervalMs: 10 },
  });
  const abort = new AbortController();
  const updates = (epoch: number) => state.watch({ epoch, heartbeatMs: 60_000 }, abort.signal);
  const until = async (stream: AsyncGenerator<LiveStateUpdate>, kind: string) => {
    for (let next = await stream.next(); !next.done; next = await stream.next())
      if (next.value.update?.$case === kind) return next.value.update;
    throw new Error(`the stream ended without ${kind}`);
  };
  const first = updates(1);
  await until(first, "snapshot");
  agent.disks.space.mockReset().mockReturnValue(hanging.promise);
  await vi.waitFor(() => expect(agent.disks.space).toHaveBeenCalled());
  agent.hypervisor.notice("web1", guestState("web1"));
  expect(await until(first, "instance")).toMatchObject({ value: { name: "web1", status: "running" } });
  agent.hypervisor.guests.set("web1", guestState("web1", { status: "shutdown" }));
  expect(await until(first, "instance")).toMatchObject({ value: { name: "web1", status: "shutdown" } });

  const snapshot = until(updates(2), "snapshot");
  await setTimeout(100);
  expect(agent.disks.space).toHaveBeenCalledTimes(1);
  hanging.resolve([]);
  expect(await snapshot).toMatchObject({
    value: { node: { storage: [] }, instances: [{ name: "web1", status: "shutdown" }] },
  });
  abort.abort();
  await state.close();
});

test("OS definitions that change are told of", async () => {
  const stream = new Stream(1);
  await stream.until(1);
  agent.os.diagnose.mockResolvedValue([
    {
      name: "new",
      path: "/os/new",
      valid: false,
      problem: "it is empty",
      variants: [],
      parameters: [],
      apiVersions: [],
      trusted: false,
    },
  ]);
  await stream.until(2);
  expect(stream.received[1]).toMatchObject({ $case: "os", value: { os: [{ name: "new", problem: "it is empty" }] } });
  await stream.leave();
});

test("every description is complete, not only the first", async () => {
  const [first, second] = [
    await agent.client.node.describe({ knownStorage: false }),
    await agent.client.node.describe({ knownStorage: false }),
  ];
  expect(first.storage).toHaveLength(1);
  expect({ ...second, clockMs: 0, memoryFreeMib: 0, memoryNodeMib: 0 }).toEqual({
    ...first,
    ...{ clockMs: 0, memoryFreeMib: 0, memoryNodeMib: 0 },
  });
});

test("a broken storage or hypervisor does not hide the rest of the node", async () => {
  agent.disks.space.mockRejectedValue(new Error("stale file handle"));
  agent.hypervisor.describe.mockRejectedValue(new HypervisorError("qemu is not installed"));
  const node = await agent.client.node.describe({ knownStorage: false });
  expect(node).toMatchObject({ storage: [], hypervisors: [{ name: "fake", problem: "qemu is not installed" }] });
  expect(node.memoryTotalMib).toBeGreaterThan(0);
});

test("values that always move are no news by themselves", () => {
  const state = guestState("web1", { uptimeSeconds: 100, cpuSeconds: 5 });
  const known = { ...state, asOfMs: 1 };
  expect(isGuestNews(known, { ...state, uptimeSeconds: 105, cpuSeconds: 9 })).toBe(false);
  expect(isGuestNews(known, { ...state, uptimeSeconds: 161 })).toBe(true);
  expect(isGuestNews(known, { ...state, uptimeSeconds: 1 })).toBe(true);
  expect(isGuestNews(known, { ...state, memoryMib: 64 })).toBe(true);
});

test("small moves of free memory and space are no news until they add up", async () => {
  const known = await agent.client.node.describe({ knownStorage: false });
  const moved = (freeMib: number, memory: number) => ({
    ...known,
    clockMs: 1,
    memoryFreeMib: known.memoryFreeMib + memory,
    storage: known.storage.map((space) => ({ ...space, freeMib: space.freeMib + freeMib })),
  });
  expect(isNodeNews(known, moved(-15, 15))).toBe(false);
  expect(isNodeNews(known, moved(-16, 0))).toBe(true);
  expect(isNodeNews(known, moved(0, -16))).toBe(true);
  expect(isNodeNews(known, { ...moved(0, 0), bootId: "another" })).toBe(true);
  expect(isNodeNews(known, { ...moved(0, 0), storage: [] })).toBe(true);
});

/** The streams of live state over scripted agents: what counts while a stream is opened anew. */
import { on } from "node:events";
import { EventEmitter } from "node:stream";
import { StaleEpoch } from "@gannet/errors";
import type { ConfigView, NodeUuid } from "@gannet/objects";
import { type LiveStateUpdate, type NodeClient, NodeState, OBSERVER_EPOCH } from "@gannet/rpc";
import { silentLogger } from "@gannet/telemetry";
import { beforeEach, expect, test, vi } from "vitest";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import { NodeWatcher } from "../../src/nodes/node-watcher.ts";

const NODE = "11111111-2222-4333-8444-555555555555" as NodeUuid;

/** One call of `watch`, as the agent sees it. */
interface Stream {
  readonly epoch: number;
  readonly signal: AbortSignal;
  say(memoryTotalMib: number): void;
  fail(error?: Error): void;
}

let streams: Stream[];
let live: MemoryLiveState;
let watcher: NodeWatcher;

beforeEach(() => {
  streams = [];
  live = new MemoryLiveState();
  watcher = new NodeWatcher({ live, node: () => client, logger: silentLogger() });
  watcher.follow(viewWith({ offline: false }));
});

const client = {
  node: {
    async *watch({ epoch }: { epoch: number }, { signal }: { signal: AbortSignal }) {
      const agent = new EventEmitter();
      streams.push({
        epoch,
        signal,
        say: (memoryTotalMib) => agent.emit("update", snapshot(memoryTotalMib)),
        fail: (error = new Error("the stream broke off")) => agent.emit("error", error),
      });
      for await (const [update] of on(agent, "update", { signal })) yield update as LiveStateUpdate;
    },
  },
} as unknown as NodeClient;

function snapshot(memoryTotalMib: number): LiveStateUpdate {
  const node = NodeState.create({ memoryTotalMib });
  return { update: { $case: "snapshot", value: { node, instances: [], os: [], asOfMs: 0 } } };
}

function viewWith({ offline }: { readonly offline: boolean }): ConfigView {
  return { nodes: new Map([[NODE, { uuid: NODE, name: "node1", offline }]]) } as unknown as ConfigView;
}

/** The stream that is opened next after `count` others. */
async function stream(count: number): Promise<Stream> {
  await vi.waitFor(() => expect(streams.length).toBeGreaterThan(count));
  return streams[count] as Stream;
}

const known = () => live.node(NODE).node?.memoryTotalMib;
const isKnown = (totalMib: number | undefined) => vi.waitFor(() => expect(known()).toBe(totalMib));

test("what was heard as a standby counts until the leader's own stream says it anew", async () => {
  const observer = await stream(0);
  observer.say(1);
  await isKnown(1);

  watcher.watchAs(7);
  const leader = await stream(1);
  expect([observer.epoch, leader.epoch]).toEqual([OBSERVER_EPOCH, 7]);
  observer.say(2);
  await isKnown(2);
  leader.say(3);
  // Of both streams at once: the former has no say any more.
  observer.say(4);
  await isKnown(3);
  expect(observer.signal.aborted).toBe(true);
  expect(leader.signal.aborted).toBe(false);

  watcher.watchAs(OBSERVER_EPOCH);
  (await stream(2)).say(5);
  await isKnown(5);
  expect(leader.signal.aborted).toBe(true);
  await watcher.stop();
  expect(known()).toBeUndefined();
});

test("a node that refuses the leader's stream is unreachable, whatever the former stream says", async () => {
  const observer = await stream(0);
  observer.say(1);
  await isKnown(1);
  watcher.watchAs(7);
  (await stream(1)).fail();
  await isKnown(undefined);
  expect(live.node(NODE).reachable).toBe(false);
  expect(observer.signal.aborted).toBe(true);
  (await stream(2)).say(2);
  await isKnown(2);
  await watcher.stop();
});

test.each([
  { when: "before it knows that its term is over", watchesAgain: false },
  { when: "while it begins to stand by", watchesAgain: true },
])("a leader whose successor's stream takes its place $when forgets nothing", async ({ watchesAgain }) => {
  watcher.watchAs(7);
  const leader = await stream(1);
  leader.say(1);
  await isKnown(1);
  const changes: (number | undefined)[] = [];
  live.onChange(() => changes.push(known()));
  if (watchesAgain) watcher.watchAs(OBSERVER_EPOCH);
  leader.fail(new StaleEpoch("The leader of epoch 8 watches this node now"));
  const observer = await stream(2);
  expect(observer.epoch).toBe(OBSERVER_EPOCH);
  observer.say(2);
  await isKnown(2);
  expect(changes).toEqual([2]);
  await watcher.stop();
});

test.each([
  { what: "marked offline", last: () => watcher.follow(viewWith({ offline: true })) },
  { what: "not watched any more", last: () => watcher.stop() },
])("a node that is $what while its stream is opened anew stays unknown", async ({ last }) => {
  const observer = await stream(0);
  observer.say(1);
  await isKnown(1);
  watcher.watchAs(7);
  const leader = await stream(1);
  observer.say(2);
  leader.say(3);
  await last();
  expect(known()).toBeUndefined();
  expect([observer.signal.aborted, leader.signal.aborted]).toEqual([true, true]);
  await watcher.stop();
  expect(live.node(NODE).reachable).toBe(false);
});

/** What is told of a guest by two ways, an operation's answer and its node's stream, in the order in which it was so. */
import type { NodeUuid } from "@gannet/objects";
import type { InstanceState } from "@gannet/rpc";
import { beforeEach, describe, expect, test } from "vitest";
import { MemoryLiveState } from "../../src/live-state/live-state.ts";
import { guest, nodeState, uuidOf } from "../rapi/cluster-fixture.ts";

const NAME = "web1.gnt.test";
const NODE = uuidOf<NodeUuid>("node1");

let live: MemoryLiveState;
beforeEach(() => {
  live = new MemoryLiveState();
  snapshot({ asOfMs: 100 });
});

const state = (asOfMs: number, more: Partial<InstanceState> = {}) => guest(NAME, { asOfMs, ...more });
const status = () => live.instance(NAME, NODE)?.state.status;
const pushed = (value: InstanceState) => live.apply(NODE, { update: { $case: "instance", value } });
const pushedGone = (asOfMs: number) =>
  live.apply(NODE, { update: { $case: "instanceGone", value: { name: NAME, asOfMs } } });

function snapshot(told: { asOfMs: number; instances?: InstanceState[]; bootId?: string }): void {
  const { asOfMs, instances = [], bootId = "boot 1" } = told;
  const node = nodeState("node1", { bootId });
  live.apply(NODE, { update: { $case: "snapshot", value: { node, instances, os: [], asOfMs } } });
}

test("news that were on their way when an operation ended do not undo its answer", () => {
  live.noteInstance(NODE, state(200));
  pushedGone(199);
  expect(status()).toBe("running");
  live.noteInstanceGone(NODE, NAME, 300);
  pushed(state(299));
  expect(status()).toBeUndefined();
});

test("an answer that arrives late does not undo what was told since", () => {
  pushed(state(300, { status: "crashed" }));
  live.noteInstance(NODE, state(200));
  expect(status()).toBe("crashed");
  pushedGone(400);
  live.noteInstance(NODE, state(399));
  expect(status()).toBeUndefined();
});

test("what is as old as what is known counts, and so does what an agent tells without a time", () => {
  live.noteInstance(NODE, state(200));
  pushed(state(200, { status: "paused" }));
  expect(status()).toBe("paused");
  pushed(state(0));
  expect(status()).toBe("running");
  live.noteInstanceGone(NODE, NAME);
  expect(status()).toBeUndefined();
});

describe("a snapshot", () => {
  test("replaces what was told before it was taken, and nothing that was told since", () => {
    live.noteInstance(NODE, state(200));
    snapshot({ asOfMs: 150 });
    expect(status()).toBe("running");
    snapshot({ asOfMs: 250 });
    expect(status()).toBeUndefined();
    live.noteInstanceGone(NODE, NAME, 300);
    snapshot({ asOfMs: 280, instances: [state(280)] });
    expect(status()).toBeUndefined();
  });

  test("has what was seen of a guest since it was begun, with that time", () => {
    live.noteInstance(NODE, state(200));
    snapshot({ asOfMs: 150, instances: [state(300, { status: "crashed" })] });
    expect(status()).toBe("crashed");
  });

  test("of a node that has booted anew replaces everything: its times begin anew", () => {
    live.noteInstance(NODE, state(200));
    snapshot({ asOfMs: 10, bootId: "boot 2" });
    expect(status()).toBeUndefined();
    pushed(state(20));
    expect(status()).toBe("running");
  });

  test("of a stream that begins after the last one was lost replaces everything", () => {
    live.lose(NODE);
    live.noteInstance(NODE, state(200));
    snapshot({ asOfMs: 10 });
    expect(status()).toBeUndefined();
  });
});

test("of guests that are gone no more is remembered than is of use", () => {
  for (let n = 0; n < 10_000; n += 1) live.noteInstanceGone(NODE, `gone${n}`, 1_000 + n);
  live.noteInstance(NODE, state(20_000));
  pushedGone(19_999);
  expect(status()).toBe("running");
});

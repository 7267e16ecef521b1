/** `/2/watcher`: what it tells, and its pause. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { type RapiTestbed, startRapiTestbed } from "./rapi-testbed.ts";

const NOW_S = 1_700_000_000;

let bed: RapiTestbed;
beforeAll(async () => {
  bed = await startRapiTestbed();
});
afterAll(() => bed[Symbol.asyncDispose]());

const pausedUntil = async () => {
  const { json } = await bed.get("/2/query/cluster?fields=watcher_pause");
  return (json as { data: [[[number, number | null]]] }).data[0][0];
};

test("tells what the leader has noted, and nothing before a leader has looked", async () => {
  const nothing = {
    ...{ enabled: true, interval: 30, paused_until: null, last_look: null, waits: [], deeds: [], tries: [] },
    hook_problems: [],
  };
  const off = { automatic_failover: false, self_fenced_nodes: [] };
  expect(await bed.get("/2/watcher")).toMatchObject({ status: 200, json: { ...nothing, ...off } });
  const wait = { kind: "instance", name: "inst1.gnt.test", reason: "its primary node is drained" };
  const deed = { action: "start", name: "inst1.gnt.test", job: 7, reason: "it should run and does not" };
  const tried = { action: "start", instance: "inst1.gnt.test", count: 2 };
  const failure = { node: "node1.gnt.test", script: "watcher/10-disk", problem: "the disk is full" };
  const note = {
    hooks: { roundAtS: NOW_S, problems: [{ ...failure, atS: NOW_S }] },
    ...{ lookedAtS: NOW_S, waits: [wait], deeds: [{ ...deed, atS: NOW_S }], tries: [{ ...tried, lastS: NOW_S }] },
  };
  await bed.redis.client.hset("gannet:notes", "watcher", JSON.stringify(note));
  expect((await bed.get("/2/watcher")).json).toEqual({
    ...nothing,
    ...off,
    last_look: NOW_S,
    waits: [wait],
    deeds: [{ ...deed, time: NOW_S }],
    tries: [{ ...tried, last: NOW_S, next: NOW_S + 300 }],
    hook_problems: [{ ...failure, time: NOW_S }],
  });
  await bed.redis.client.hset("gannet:notes", "watcher", "not JSON");
  expect((await bed.get("/2/watcher")).json).toEqual({ ...nothing, ...off });
});

test("is paused for a time that the cluster's field tells, and goes on when told or when it is over", async () => {
  expect(await pausedUntil()).toEqual([3, null]);
  const { status, json } = await bed.call("PUT", "/2/watcher/pause", { json: { duration: 3600 } });
  const { paused_until: until } = json as { paused_until: number };
  expect(status).toBe(200);
  expect(Math.abs(until - Date.now() / 1000 - 3600)).toBeLessThan(60);
  expect((await bed.get("/2/watcher")).json).toMatchObject({ paused_until: until });
  expect(await pausedUntil()).toEqual([0, until]);
  expect((await bed.call("PUT", "/2/watcher/continue")).json).toEqual({ paused_until: null });
  expect(bed.configStore.view.cluster.watcherPausedUntil).toBeUndefined();
  await bed.configStore.commit(
    (view) => [{ kind: "cluster", put: { ...view.cluster, watcherPausedUntil: Date.now() / 1000 - 1 } }],
    { epoch: 1 },
  );
  expect(await pausedUntil()).toEqual([3, null]);
});

test.each([{}, { duration: 0 }, { duration: -5 }, { duration: "1h" }, { duration: 1e12 }, { until: 5 }])(
  "refuses a pause of %j",
  async (json) => {
    expect((await bed.call("PUT", "/2/watcher/pause", { json })).status).toBe(400);
  },
);

test("is paused by who may write, and by the leader only", async () => {
  const pause = { json: { duration: 60 } };
  expect((await bed.call("PUT", "/2/watcher/pause", { ...pause, user: "operator" })).status).toBe(403);
  bed.leads = false;
  expect((await bed.call("PUT", "/2/watcher/pause", pause)).status).toBe(503);
  expect((await bed.get("/2/watcher")).status).toBe(200);
  bed.leads = true;
});
